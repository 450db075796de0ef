/**
 * Everything that can become of a request other than `ok`.
 * - `retried`: the row may be sent again; otherwise the class is final at once.
 * - `counted`: it used up one of the row's attempts. What is not counted may go round without end, so it must not be
 *   something that an account without money repeats at once: retry_failed brings quota_exhausted back.
 */
export const errorClasses = {
  rate_limited: { retried: true, counted: true, about: 'the provider had no room for this request' },
  server_error: { retried: true, counted: true, about: 'the provider failed' },
  timeout: { retried: true, counted: true, about: 'the provider took too long over this request' },
  batch_expired: { retried: true, counted: false, about: 'the batch ran out of time before this request' },
  batch_cancelled: { retried: true, counted: false, about: 'the batch was cancelled before this request' },
  missing: { retried: true, counted: true, about: 'neither file of the batch has a line for this request' },
  invalid_json: { retried: true, counted: true, about: 'the answer is not JSON' },
  schema_mismatch: { retried: true, counted: true, about: 'the answer does not fit the schema' },
  type_mismatch: { retried: true, counted: true, about: 'a value of the answer does not fit its column' },
  truncated: { retried: true, counted: true, about: 'the answer was cut off by the limit on output tokens' },
  refused: { retried: false, counted: true, about: 'the model declined to answer' },
  content_filter: {
    retried: false,
    counted: true,
    about: 'a content filter withheld the prompt or the answer',
  },
  invalid_request: { retried: false, counted: true, about: 'the provider cannot take this request as it is' },
  quota_exhausted: { retried: true, counted: true, about: 'the account has no money or quota left' },
  batch_rejected: { retried: true, counted: true, about: 'the provider refused the whole batch' },
  stale_input: { retried: true, counted: false, about: 'the row was edited while its answer was made' },
  row_gone: { retried: false, counted: false, about: 'the row was deleted while its answer was made' },
  unknown: { retried: true, counted: true, about: 'something that no other class describes' },
} as const satisfies Record<string, { retried: boolean; counted: boolean; about: string }>;

export type ErrorClass = keyof typeof errorClasses;
