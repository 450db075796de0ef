/** Arguments that quote what came from outside, however deep. */
const quoting = new Set(['polls', 'failures']);

/**
 * Takes the arguments of a call; returns them as Postgres can hold them, with null for what is not there. A provider's
 * message may hold what no Postgres text can; what it says of a batch is not to be lost to that. Answers go as they are:
 * they were looked through before.
 */
export function storableArgs(args: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(args).map(([name, value]) => [
    name,
    quoting.has(name) ? storableWithin(value ?? null) : storable(value ?? null),
  ]);
  return Object.fromEntries(entries);
}

function storable(value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll('\0', '\u2400').toWellFormed() : value;
}

function storableWithin(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(storableWithin);
  if (typeof value !== 'object' || value === null) return storable(value);
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, storableWithin(inner)]));
}
