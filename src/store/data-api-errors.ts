import { RowmillError } from '../errors.ts';
import { databaseAway, isConnectionFailure, refusesWrites } from './database-away.ts';
import { SqlError } from './sql-error.ts';

type Told = { code: string | null; message: string; details: string | null; hint: string | null };

// PostgREST has no connection to its database, or none was free in time.
const awayCodes = /^PGRST00[0-3]$/;
const sqlState = /^[0-9A-Z]{5}$/;

/** Takes an answer of the Data API that is no success; returns the error that it stands for. */
export function toDataApiError(status: number, body: string, name: string): Error {
  const told = readBody(body);
  const { code } = told;
  const why = `the Data API answered ${status}${code === null ? '' : ` ${code}`}: ${told.message}`;
  if (code !== null && (awayCodes.test(code) || isConnectionFailure({ code })))
    return databaseAway(why, code);
  const refusal = refusesWrites(told);
  if (refusal !== null) return refusal;
  // What stands in front of PostgREST has its own pages: a gateway without a back end, a paused project, a limit on calls.
  if (code === null && (status >= 500 || status === 408 || status === 429)) {
    return databaseAway(why, String(status));
  }
  // Refused before anything was looked at, or looked at as nobody in particular.
  if (status === 401 || (status === 403 && code === null)) {
    return raised(
      'supabase_key',
      `The Data API does not take SUPABASE_SERVICE_ROLE_KEY. Expected the service_role or secret key of this very project; ${why}`,
      status,
      code,
    );
  }
  if (code === 'PGRST106') {
    return raised(
      'schema_not_exposed',
      'The Data API does not show schema rowmill. Add rowmill to the Exposed schemas in the Data API settings; grant nothing.',
      status,
      code,
    );
  }
  if (code === 'PGRST202') {
    return raised(
      'function_missing',
      `The Data API knows no function rowmill.${name} with these arguments. Either migrations are missing: run supabase db push, or npm run migrate with DATABASE_URL. Or it has not seen them yet: run notify pgrst, 'reload schema'.`,
      status,
      code,
    );
  }
  if (code !== null && sqlState.test(code)) return new SqlError(code, told.message, told.details, told.hint);
  if (code === null && status === 404) {
    return raised(
      'supabase_url',
      'SUPABASE_URL leads to no Data API. Expected the address of the project, such as https://<project>.supabase.co; it answered 404.',
      status,
      code,
    );
  }
  return raised('data_api_refused', `rowmill.${name}: ${why}`, status, code);
}

function raised(name: string, message: string, status: number, code: string | null): RowmillError {
  return new RowmillError(name, message, { fields: { status, cause: code } });
}

function readBody(body: string): Told {
  try {
    const { code, message, details, hint, error } = JSON.parse(body) as Record<string, unknown>;
    return {
      code: textOf(code),
      message: textOf(message) ?? textOf(error) ?? 'it said nothing else',
      details: textOf(details),
      hint: textOf(hint),
    };
  } catch {
    // A page of whatever stands in between says nothing that a person could use.
    return { code: null, message: 'not in PostgREST’s form', details: null, hint: null };
  }
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}
