/** An HTTP error in the form that OpenAI gives it: `{"error":{message,type,param,code}}`. */
export class ApiError extends Error {
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly type: string;

  constructor(
    status: number,
    message: string,
    details: { param?: string | null; code?: string | null; type?: string } = {},
  ) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.param = details.param ?? null;
    this.code = details.code ?? null;
    this.type = details.type ?? (status >= 500 ? 'server_error' : 'invalid_request_error');
  }

  /** The body of the reply; the same object stands in a batch's error file. */
  toBody(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

/** 500 or above: something went wrong over there, and nobody says what. */
export function serverError(status = 500): ApiError {
  return new ApiError(status, 'The server had an error while processing your request. Sorry about that!');
}

/** 400 for a parameter of the wrong value. */
export function invalidValue(param: string, message: string): ApiError {
  return new ApiError(400, message, { param, code: 'invalid_value' });
}

/** 400 for a parameter that is not there. */
export function missingParameter(param: string): ApiError {
  return new ApiError(400, `Missing required parameter: '${param}'.`, {
    param,
    code: 'missing_required_parameter',
  });
}
