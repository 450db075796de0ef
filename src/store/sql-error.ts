/** What Postgres refused, told over HTTP: the fields that callers know from errors of postgres.js. */
export class SqlError extends Error {
  override readonly name = 'SqlError';
  /** Its SQLSTATE, such as `RM301` or `23505`. */
  readonly code: string;
  declare readonly detail?: string;
  declare readonly hint?: string;

  constructor(code: string, message: string, detail: string | null, hint: string | null) {
    super(message);
    this.code = code;
    // As postgres.js has it: what was not said is not there.
    if (detail !== null) this.detail = detail;
    if (hint !== null) this.hint = hint;
  }
}

/** The SQLSTATE of what was caught, whichever way it came; null where Postgres did not refuse anything. */
export function sqlStateOf(error: unknown): string | null {
  // Node's own codes, such as EPIPE, have five letters as well.
  if (!(error instanceof SqlError) && (error as Error | null)?.name !== 'PostgresError') return null;
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : null;
}

/** Classes that say nothing of a row: connection, rights and objects, read-only, disk, operator, system, our own. */
const ofNoRow = /^(08|0A|25|42|53|57P|58|RM)/;

/** Whether a SQLSTATE can be no row's doing; `rowmill.fault_of` tells the same, and more, inside a write. */
export function isOfNoRow(state: string): boolean {
  return ofNoRow.test(state);
}
