import { messageOf, RowmillError } from '../errors.ts';

// Of the system, of postgres.js, and of Postgres: going down, coming up, full.
const codes = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH'],
  ...['CONNECT_TIMEOUT', 'CONNECTION_CLOSED', 'CONNECTION_DESTROYED'],
  ...['57P01', '57P02', '57P03', '53300'],
]);

/** Whether an error of postgres.js says that the database could not be reached, or was lost. */
export function isConnectionFailure(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && (codes.has(code) || /^08...$/.test(code));
}

/** The error of a database that could not be reached, or was lost; `code` says how. */
export function databaseAway(why: string, code: string, cause?: unknown): RowmillError {
  return new RowmillError('database_unreachable', `The database is out of reach: ${why}`, {
    fields: { why, cause: code },
    cause,
  });
}

// A standby, or default_transaction_read_only, which Supabase switches on where a disk is nearly full; and a full disk.
const refusals: Record<string, string> = { '25006': 'database_read_only', '53100': 'database_full' };

/** What an error of Postgres says where the database takes no writes at present; null where it says anything else. */
export function refusesWrites(error: unknown): RowmillError | null {
  const { code: cause } = error as { code?: unknown };
  const code = typeof cause === 'string' ? refusals[cause] : undefined;
  if (code === undefined) return null;
  const why = messageOf(error);
  return new RowmillError(code, `The database takes no writes: ${why}`, {
    fields: { why, cause },
    cause: error,
  });
}

/** Raises such an error as what it means (`isDatabaseAway`), and any other as it is. */
export function explainAway(cause: unknown): never {
  const refusal = refusesWrites(cause);
  if (refusal !== null) throw refusal;
  if (!isConnectionFailure(cause)) throw cause;
  const { code } = cause as { code: string };
  throw databaseAway(messageOf(cause) || code, code, cause);
}
