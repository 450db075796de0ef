/**
 * Runs the variants one after another, `runs` times over, so that a slow minute of the machine hits all of
 * them; returns each one's times. What a variant does before it calls `start` is not measured.
 */
export async function interleave(
  runs: number,
  variants: Record<string, () => Promise<number>>,
): Promise<Record<string, number[]>> {
  const times: Record<string, number[]> = Object.fromEntries(Object.keys(variants).map((name) => [name, []]));
  for (let run = 0; run < runs; run += 1) {
    for (const [name, measure] of Object.entries(variants)) times[name]!.push(await measure());
  }
  return times;
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export type Row = {
  what: string;
  value: string;
  goal: string;
  spread: string;
  verdict: 'met' | 'missed' | '';
};

/** The ratio of medians against a goal that it must not exceed; the spread is of the runs' own ratios. */
export function ratioRow(what: string, measured: number[], base: number[], atMost: number): Row {
  const ratio = median(measured) / median(base);
  const ratios = measured.map((value, at) => value / base[at]!);
  return {
    what,
    value: ratio.toFixed(2),
    goal: `≤ ${atMost}`,
    spread: `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`,
    verdict: ratio <= atMost ? 'met' : 'missed',
  };
}

export function printRows(rows: Row[]): void {
  const header: Row = { what: 'what', value: 'median', goal: 'goal', spread: 'runs', verdict: '' };
  const widths = (['what', 'value', 'goal', 'spread'] as const).map((key) =>
    Math.max(...[header, ...rows].map((row) => row[key].length)),
  );
  for (const row of [header, ...rows]) {
    const cells = [row.what, row.value, row.goal, row.spread].map((cell, at) => cell.padEnd(widths[at]!));
    process.stdout.write(`${cells.join('  ')}  ${row.verdict}\n`);
  }
}
