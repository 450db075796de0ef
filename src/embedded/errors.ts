import { type ErrorFields, RowmillError } from '../errors.ts';

/**
 * Why the embedded Postgres cannot serve. Every message says what was expected, what was found, and what to do.
 * - `embedded_missing`: the optional package, or a part of it, is not installed.
 * - `embedded_platform`: there are no binaries for this machine, or they do not run here.
 * - `embedded_account`: started as root (or as a nameless user) and no user was found to run Postgres as.
 * - `embedded_unreachable`: the user that runs Postgres cannot reach the binaries or the data.
 * - `embedded_not_writable`: the directory belongs to someone else.
 * - `embedded_in_use`: another live service owns the directory.
 * - `embedded_foreign_server`: a Postgres that Rowmill did not start runs on our data.
 * - `embedded_version`: the data were written by another major version.
 * - `embedded_damaged`: the data directory lacks something that a finished one has.
 * - `embedded_init_failed`, `embedded_start_failed`, `embedded_stop_failed`: Postgres itself said no.
 * - `embedded_port_taken`: the port asked for is in use.
 */
export type EmbeddedErrorCode =
  | 'embedded_missing'
  | 'embedded_platform'
  | 'embedded_account'
  | 'embedded_unreachable'
  | 'embedded_not_writable'
  | 'embedded_in_use'
  | 'embedded_foreign_server'
  | 'embedded_version'
  | 'embedded_damaged'
  | 'embedded_init_failed'
  | 'embedded_start_failed'
  | 'embedded_stop_failed'
  | 'embedded_port_taken';

export class EmbeddedPostgresError extends RowmillError {
  override readonly name: string = 'EmbeddedPostgresError';

  constructor(
    code: EmbeddedErrorCode,
    message: string,
    options: { fields?: ErrorFields; cause?: unknown } = {},
  ) {
    super(code, message, options);
  }
}

/** Takes anything thrown; returns the system's code (`ENOENT`, `EACCES` …), or null where it has none. */
export function systemCode(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}
