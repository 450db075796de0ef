import type { Diagnosis } from './diagnosis.ts';

const width = 100;
const verdictWidth = 'warning'.length;

/** The diagnoses as a table for a terminal of 100 columns; remedies stand below what they mend. */
export function writeDiagnoses(diagnoses: Diagnosis[]): string {
  const checkWidth = Math.max(...diagnoses.map(({ check }) => check.length));
  const indent = checkWidth + verdictWidth + 4;
  const blank = ' '.repeat(indent);
  const lines = diagnoses.flatMap(({ check, verdict, found, remedy }) => {
    const [first, ...rest] = wrap(found, width - indent);
    const [what, ...ever] = remedy === null ? [] : wrap(remedy, width - indent - 3);
    return [
      `${check.padEnd(checkWidth)}  ${verdict.padEnd(verdictWidth)}  ${first ?? ''}`.trimEnd(),
      ...rest.map((line) => blank + line),
      ...(what === undefined ? [] : [`${blank}-> ${what}`]),
      ...ever.map((line) => `${blank}   ${line}`),
    ];
  });
  return `${lines.join('\n')}\n\n${summary(diagnoses)}\n`;
}

function summary(diagnoses: Diagnosis[]): string {
  const counts = (['fault', 'warning', 'note'] as const)
    .map((verdict) => ({ verdict, count: diagnoses.filter((one) => one.verdict === verdict).length }))
    .filter(({ count }) => count > 0)
    .map(({ verdict, count }) => `${count} ${verdict}${count === 1 ? '' : 's'}`);
  return counts.length === 0
    ? `${diagnoses.length} checks, all ok.`
    : `${diagnoses.length} checks: ${counts.join(', ')}. docs/doctor.md explains each.`;
}

/** Lines of so many characters at most, broken between words; a longer word stands alone, so that it can be copied. */
function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= columns) lines[lines.length - 1] += ` ${word}`;
    else lines.push(word);
  }
  return lines;
}
