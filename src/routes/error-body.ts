import { z } from 'zod';

/** Every error has this form: a code for programs, a message that says what was expected. */
export const errorBody = z.object({
  error: z.object({ code: z.string(), message: z.string() }),
});

export type ErrorBody = z.infer<typeof errorBody>;

export function toErrorBody(code: string, message: string): ErrorBody {
  return { error: { code, message } };
}
