import { RowmillError } from '../errors.ts';

/** An error with the HTTP status that it is answered with. */
export class HttpError extends RowmillError {
  override readonly name = 'HttpError';
  readonly statusCode: number;

  constructor(statusCode: number, code: string, message: string) {
    super(code, message);
    this.statusCode = statusCode;
  }
}
