import type { ErrorClass } from './error-classes.ts';
import { classOfCode } from './provider-codes.ts';

/** The text of a model's answer, or why there is none that could be read. */
export type Content =
  | { ok: true; content: string }
  | { ok: false; errorClass: ErrorClass; code: string | null; message: string };

type Wire = Record<string, unknown>;

/** Takes the body of a request that succeeded, in the form of either endpoint; returns what the model said. */
export function readContent(body: Wire): Content {
  if (Array.isArray(body.choices)) return readChoice(asWire(body.choices[0]));
  if (Array.isArray(body.output) || typeof body.status === 'string') return readResponse(body);
  const error = readError(body.error);
  if (error !== null) {
    return failed(classOfCode(error.code) ?? 'server_error', error.code, error.message);
  }
  return failed('unknown', 'unexpected_body', 'The answer has neither choices nor output.');
}

/** Takes an `error` member in any of its forms; returns code and message, or null where there is no error. */
export function readError(error: unknown): { code: string | null; message: string } | null {
  if (typeof error === 'string' && error !== '') return { code: null, message: error };
  const wire = asWire(error);
  const code = wire.code ?? wire.type ?? null;
  const message = wire.message;
  if (code === null && typeof message !== 'string') return null;
  return {
    code: toCode(code),
    message: typeof message === 'string' && message !== '' ? message : 'The provider gave no reason.',
  };
}

/** An object has no text that could be relied on: String() calls what it finds in it. */
function toCode(value: unknown): string | null {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : null;
}

/** Takes anything; returns it where it is an object, else an empty one. */
export function asWire(value: unknown): Wire {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Wire) : {};
}

function readChoice(choice: Wire): Content {
  const finish = choice.finish_reason;
  const message = asWire(choice.message);
  if (finish === 'content_filter') return filtered();
  const refusal = message.refusal;
  if (typeof refusal === 'string' && refusal !== '') return refused(refusal);
  if (finish === 'length') return truncated('length');
  const content = message.content;
  if (typeof content === 'string') return { ok: true, content };
  // Some compatible servers write the parts of the message instead.
  return Array.isArray(content) ? joinParts(content) : empty();
}

function readResponse(body: Wire): Content {
  const status = body.status;
  if (status === 'failed' || status === 'cancelled') {
    const error = readError(body.error);
    const code = error?.code ?? String(status);
    return failed(classOfCode(code) ?? 'server_error', code, error?.message ?? 'The response failed.');
  }
  const reason = status === 'incomplete' ? asWire(body.incomplete_details).reason : null;
  if (reason === 'content_filter') return filtered();
  const output = Array.isArray(body.output) ? body.output : [];
  const parts: unknown[] = [];
  for (const item of output.map(asWire)) {
    // Reasoning and tool calls are items as well; commentary is a message that is not the answer.
    if (item.type !== 'message' || item.phase === 'commentary') continue;
    // One by one: a call takes no hundred thousand arguments.
    if (Array.isArray(item.content)) for (const part of item.content) parts.push(part);
  }
  const content = joinParts(parts);
  if (!content.ok && content.errorClass === 'refused') return content;
  if (status === 'incomplete') return truncated(typeof reason === 'string' ? reason : 'incomplete');
  return content;
}

function joinParts(parts: unknown[]): Content {
  let text: string | null = null;
  for (const part of parts.map(asWire)) {
    if (typeof part.refusal === 'string' && part.refusal !== '') return refused(part.refusal);
    if (typeof part.text === 'string') text = (text ?? '') + part.text;
  }
  return text === null ? empty() : { ok: true, content: text };
}

function refused(refusal: string): Content {
  return failed('refused', 'refusal', `The model declined: ${refusal}`);
}

function truncated(code: string): Content {
  return failed('truncated', code, 'The answer was cut off at the limit on output tokens.');
}

function filtered(): Content {
  return failed('content_filter', 'content_filter', 'A content filter withheld the answer.');
}

function empty(): Content {
  return failed('invalid_json', 'empty_answer', 'The model answered nothing.');
}

function failed(errorClass: ErrorClass, code: string | null, message: string): Content {
  return { ok: false, errorClass, code, message };
}
