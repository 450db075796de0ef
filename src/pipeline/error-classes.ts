/**
 * Everything that can become of a request other than `ok`. docs/outcomes.md shows this table, and a test compares them.
 * - `retried`: the row may be sent again; otherwise the class is final at once.
 * - `counted`: it used up one of the row's attempts. What is not counted may go round without end, so it must not be
 *   something that repeats at once: quota_exhausted pauses the pipeline.
 * - `matches`: what it is told by; codes, statuses and steps, never the text of a message.
 * - `remedy`: what the user can do.
 */
export const errorClasses = {
  rate_limited: {
    retried: true,
    counted: true,
    about: 'the provider had no room for this request',
    matches: 'status 429; code `rate_limit_exceeded`, `token_limit_exceeded`, `too_many_requests`',
    remedy: 'nothing; it waits longer each time',
  },
  server_error: {
    retried: true,
    counted: true,
    about: 'the provider failed',
    matches: 'status 0, 409, 500 and above; code `server_error`, `internal_error`, `service_unavailable`',
    remedy: 'nothing; `retry_failed` once the provider is well again',
  },
  timeout: {
    retried: true,
    counted: true,
    about: 'the provider took too long over this request',
    matches: 'status 408, 504; code `timeout`, `request_timeout`',
    remedy: 'shorter inputs, or a smaller limit on output tokens',
  },
  batch_expired: {
    retried: true,
    counted: false,
    about: 'the batch ran out of time before this request',
    matches: 'code `batch_expired`; batch `expired` and no line for the row',
    remedy: 'nothing; only the remainder is sent again',
  },
  batch_cancelled: {
    retried: true,
    counted: false,
    about: 'the batch was cancelled before this request',
    matches: 'code `batch_cancelled`; batch `cancelled` and no line for the row',
    remedy: 'nothing; `pause_pipeline` keeps it from being sent again',
  },
  missing: {
    retried: true,
    counted: true,
    about: 'neither file of the batch has a line for this request',
    matches: 'batch `completed`, or lost at the provider, and no line for the row',
    remedy: 'nothing; tell the provider if it happens often',
  },
  invalid_json: {
    retried: true,
    counted: true,
    about: 'the answer is not JSON',
    matches:
      'the answer cannot be parsed, or is empty; its line is longer than 8 MB, not UTF-8, or nested beyond reason',
    remedy: "a model that knows structured outputs, or `format => 'text'`",
  },
  schema_mismatch: {
    retried: true,
    counted: true,
    about: 'the answer does not fit the schema',
    matches: 'the answer fails the check against the JSON Schema, or takes too long to check',
    remedy: 'a model that knows strict schemas, or another `output_schema`',
  },
  type_mismatch: {
    retried: true,
    counted: true,
    about: 'Postgres cannot take a value of the answer',
    matches:
      'SQLSTATE of the write (range, enum, check, foreign key, your triggers), or text that Postgres cannot store',
    remedy: 'widen the column, or say in its comment what it takes',
  },
  truncated: {
    retried: true,
    counted: true,
    about: 'the answer was cut off by the limit on output tokens',
    matches: 'finish_reason `length`; incomplete for `max_output_tokens`',
    remedy: 'a larger `max_completion_tokens`; where one is set, each further try doubles it',
  },
  refused: {
    retried: false,
    counted: true,
    about: 'the model declined to answer',
    matches: 'a refusal in the message',
    remedy: 'another prompt or model, then `retry_failed`',
  },
  content_filter: {
    retried: false,
    counted: true,
    about: 'a content filter withheld the prompt or the answer',
    matches:
      'finish_reason `content_filter`; code `content_filter`, `content_policy_violation`, `invalid_prompt`',
    remedy: 'edit the row, or another prompt',
  },
  invalid_request: {
    retried: false,
    counted: true,
    about: 'the provider cannot take this request as it is',
    matches:
      'any other status from 400 to 499; code `invalid_request`, `context_length_exceeded`; a line that a refused batch names; a prompt that is no Unicode',
    remedy: 'edit the row (too long?), or mend the prompt or params',
  },
  quota_exhausted: {
    retried: true,
    counted: false,
    about: 'the account has no money or quota left',
    matches: 'status 402; code `insufficient_quota`, `billing_hard_limit_reached`',
    remedy: 'the pipeline is paused: top up the account, then `resume_pipeline`',
  },
  batch_rejected: {
    retried: true,
    counted: true,
    about: 'the provider refused the whole batch',
    matches: 'status 400, 404, 413, 422 at create; batch `failed` without lines to blame',
    remedy: 'the message says what it dislikes; mend it, then `retry_failed`',
  },
  stale_input: {
    retried: true,
    counted: false,
    about: 'the row was edited while its answer was made',
    matches: "the hash of the row's input is another one when the answer is written",
    remedy: 'nothing; the edit is queued already. Counted in `stale`, never in `row_failures`',
  },
  row_gone: {
    retried: false,
    counted: false,
    about: 'the row was deleted while its answer was made',
    matches: 'there is no row of this key when the answer is written',
    remedy: 'nothing. Counted in `gone`, never in `row_failures`',
  },
  unknown: {
    retried: true,
    counted: true,
    about: 'something that no other class describes',
    matches: 'status 401, 403; a line without response or error; a body of no known form',
    remedy: 'the code and the message say more; then `retry_failed`',
  },
} as const satisfies Record<
  string,
  { retried: boolean; counted: boolean; about: string; matches: string; remedy: string }
>;

export type ErrorClass = keyof typeof errorClasses;

/** Takes how a request failed; returns it with what follows from its class for the row. */
export function verdictOf(errorClass: ErrorClass, code: string | null, message: string) {
  const { retried, counted } = errorClasses[errorClass];
  return { class: errorClass, code, message, retried, counted };
}
