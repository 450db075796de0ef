import postgres from 'postgres';
import { JwtError } from './jwt.ts';

/** An answer that is no success, in PostgREST's form. */
export class ApiError extends Error {
  readonly status: number;
  readonly body: { code: string; message: string; details: string | null; hint: string | null };

  constructor(status: number, code: string, message: string, details?: string | null, hint?: string | null) {
    super(message);
    this.status = status;
    this.body = { code, message, details: details ?? null, hint: hint ?? null };
  }
}

/** The first that fits holds; what none fits is the caller's mistake: 400. */
const statusByCode: [RegExp, number][] = [
  [/^08/, 503],
  [/^09/, 500],
  [/^0[LP]/, 403],
  [/^2350[35]$/, 409],
  [/^25006$/, 405],
  [/^25/, 500],
  [/^28/, 403],
  [/^2D/, 500],
  [/^3[89B]/, 500],
  [/^40/, 500],
  [/^53400$/, 500],
  [/^53/, 503],
  [/^5[45]/, 500],
  [/^57P01$/, 503],
  [/^5[78]/, 500],
  [/^F0/, 500],
  [/^HV/, 500],
  [/^P0001$/, 400],
  [/^P0/, 500],
  [/^XX/, 500],
  [/^42883$/, 404],
  [/^42P01$/, 404],
  [/^42P17$/, 500],
];

/** What PostgREST answers where this was thrown on the way of a request by that role. */
export function toApiError(error: unknown, role: string): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof JwtError) return new ApiError(401, error.code, error.message);
  if (!(error instanceof postgres.PostgresError)) {
    const { code = 'unknown', message } = error as { code?: string; message: string };
    if (code === 'CONNECTION_CLOSED' || code === 'CONNECTION_DESTROYED' || code === 'ECONNRESET') {
      const text = 'Database client error. Retrying the connection.';
      return new ApiError(503, 'PGRST001', text, message);
    }
    return new ApiError(503, 'PGRST000', 'Database connection error. Retrying the connection.', message);
  }
  const { code, message, detail, hint } = error;
  return new ApiError(statusOf(code, message, role), code, message, detail, hint);
}

function statusOf(code: string, message: string, role: string): number {
  if (code === '42501') return role === 'anon' ? 401 : 403;
  if (code === '22023') return /^role .* does not exist$/.test(message) ? 401 : 400;
  return statusByCode.find(([pattern]) => pattern.test(code))?.[1] ?? 400;
}
