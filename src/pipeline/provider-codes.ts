import type { ErrorClass } from './error-classes.ts';

/** Codes of a request's error that say more than its status does. A Map: codes come from outside. */
const classes = new Map<string, ErrorClass>([
  ['batch_expired', 'batch_expired'],
  ['batch_cancelled', 'batch_cancelled'],
  ['batch_canceled', 'batch_cancelled'],
  ['rate_limit_exceeded', 'rate_limited'],
  ['token_limit_exceeded', 'rate_limited'],
  ['too_many_requests', 'rate_limited'],
  ['insufficient_quota', 'quota_exhausted'],
  ['billing_hard_limit_reached', 'quota_exhausted'],
  ['server_error', 'server_error'],
  ['internal_error', 'server_error'],
  ['internal_server_error', 'server_error'],
  ['service_unavailable', 'server_error'],
  ['timeout', 'timeout'],
  ['request_timeout', 'timeout'],
  ['content_filter', 'content_filter'],
  ['content_policy_violation', 'content_filter'],
  ['invalid_prompt', 'content_filter'],
  ['invalid_request', 'invalid_request'],
  ['context_length_exceeded', 'invalid_request'],
]);

/** Takes the code or type of an error; returns its class, or null where the code alone does not tell. */
export function classOfCode(code: string | null): ErrorClass | null {
  return code === null ? null : (classes.get(code) ?? null);
}

/** Takes the status of a request that did not succeed; returns its class. 0 stands for no answer at all. */
export function classOfStatus(status: number): ErrorClass {
  if (status === 408 || status === 504) return 'timeout';
  if (status === 429) return 'rate_limited';
  if (status === 402) return 'quota_exhausted';
  if (status === 0 || status === 409 || status >= 500) return 'server_error';
  // A key without the right is no fault of the row's.
  if (status === 401 || status === 403) return 'unknown';
  return status >= 400 ? 'invalid_request' : 'unknown';
}

/** Whether a code says that the account has no money or quota left. */
export function isQuotaCode(code: string | null): boolean {
  return classOfCode(code) === 'quota_exhausted';
}

/** Codes of a refused batch that say something about the pipeline and nothing about the line that they name. */
const ofWholeBatch = new Set([
  'model_not_found',
  'invalid_model',
  'mismatched_model',
  'model_mismatch',
  'invalid_url',
  'url_mismatch',
  'streaming_unsupported',
  'duplicate_custom_id',
  'token_limit_exceeded',
  'too_many_tasks',
]);

/** Takes the code of an error in a refused batch; returns whether every line would have met with it. */
export function speaksOfWholeBatch(code: string | null): boolean {
  return code !== null && ofWholeBatch.has(code);
}
