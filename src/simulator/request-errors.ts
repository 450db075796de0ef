import { ApiError, serverError } from './errors.ts';

type Form = { status: number; message: string; type?: string; param?: string };

// What is known of the errors that requests of a batch end in. 408's body is not; Azure's code is taken.
const forms = new Map<string, Form>([
  ['invalid_value', { status: 400, message: 'The request was refused.', param: 'messages' }],
  [
    'context_length_exceeded',
    {
      status: 400,
      message:
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130001 tokens. " +
        'Please reduce the length of the messages.',
      param: 'messages',
    },
  ],
  ['timeout', { status: 408, message: 'The request timed out.', type: 'timeout' }],
  ['rate_limit_exceeded', { status: 429, message: 'Rate limit reached for requests.', type: 'requests' }],
  [
    'insufficient_quota',
    {
      status: 429,
      message: 'You exceeded your current quota, please check your plan and billing details.',
      type: 'insufficient_quota',
    },
  ],
]);

/** The codes that are known with all they come with. */
export const requestCodes: string[] = [...forms.keys()];

/** The status that a code comes with; 400 where nothing is known of it. */
export function statusOfCode(code: string): number {
  return forms.get(code)?.status ?? 400;
}

/** The error of a status, with its usual code or the given one; server errors usually have none. */
export function requestError(status: number, code = usualCode(status)): ApiError {
  if (code === null) return serverError(status);
  const { message, type, param } = forms.get(code) ?? {};
  const plain = status >= 500 ? serverError(status).message : 'The request was refused.';
  return new ApiError(status, message ?? plain, { code, param: param ?? null, ...(type ? { type } : {}) });
}

function usualCode(status: number): string | null {
  if (status >= 500) return null;
  if (status === 408) return 'timeout';
  return status === 429 ? 'rate_limit_exceeded' : 'invalid_value';
}
