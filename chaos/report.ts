export type Fact = {
  what: string;
  value: number | string;
  /** null: for information. */
  allowed: number | string | null;
  verdict: 'ok' | 'VIOLATION' | '';
  /** What helps to find the cause. */
  notes: string[];
};

export type Report = { facts: Fact[]; violations: number };

/** A fact that nothing is demanded of. */
export function shown(what: string, value: number | string, notes: string[] = []): Fact {
  return { what, value, allowed: null, verdict: '', notes };
}

/** A number that must be what is allowed, 0 if nothing else is said. */
export function demanded(what: string, value: number, notes: string[] = [], allowed = 0): Fact {
  return { what, value, allowed, verdict: value === allowed ? 'ok' : 'VIOLATION', notes };
}

/** A number that must not be beyond a limit. */
export function bounded(
  what: string,
  value: number,
  limit: { least: number } | { most: number },
  notes: string[] = [],
): Fact {
  const isRight = 'least' in limit ? value >= limit.least : value <= limit.most;
  const allowed = 'least' in limit ? `≥ ${limit.least}` : `≤ ${limit.most}`;
  return { what, value, allowed, verdict: isRight ? 'ok' : 'VIOLATION', notes };
}

export function reportOf(facts: Fact[]): Report {
  return { facts, violations: facts.filter((fact) => fact.verdict === 'VIOLATION').length };
}

/** A table with a line for each fact, what helps below the violations, and the verdict last. */
export function formatReport({ facts, violations }: Report): string {
  const cells = facts.map((fact) => [fact.what, show(fact.value), show(fact.allowed ?? ''), fact.verdict]);
  const rows = [['fact', 'found', 'allowed', ''], ...cells];
  const widths = [0, 1, 2].map((at) => Math.max(...rows.map((row) => row[at]!.length)));
  const lines = rows.flatMap(([what, found, allowed, verdict], at) => {
    const line = `${what!.padEnd(widths[0]!)}  ${found!.padStart(widths[1]!)}  ${allowed!.padStart(widths[2]!)}  ${verdict}`;
    const notes = facts[at - 1]?.notes ?? [];
    return [line.trimEnd(), ...notes.map((note) => `    ${note.replaceAll('\n', '\n    ')}`)];
  });
  return [...lines, '', `verdict: ${violations} violation${violations === 1 ? '' : 's'}`].join('\n');
}

function show(value: number | string): string {
  return typeof value === 'number' ? value.toLocaleString('en-US') : value;
}

/** The first few, and how many more there are. */
export function some<Item>(items: readonly Item[], tell: (item: Item) => string, most = 5): string[] {
  const told = items.slice(0, most).map(tell);
  return items.length > most ? [...told, `… and ${items.length - most} more`] : told;
}
