import { compileAnswer, type ReadAnswer } from './answer.ts';
import type { ErrorClass } from './error-classes.ts';
import { boundsProblem } from './json-bounds.ts';
import type { PipelineDefinition } from './pipeline.ts';
import { classOfCode, classOfStatus } from './provider-codes.ts';
import { asWire, readContent, readError } from './response-body.ts';
import { unreadOutcome } from './unread-line.ts';
import { normalizeUsage, type Usage } from './usage.ts';

export type LineOutcome =
  | {
      customId: string;
      ok: true;
      /**
       * In the order of the outputs. To be handed on through JSON.stringify: numbers that JavaScript would
       * round are `JSON.rawJSON` objects.
       */
      values: unknown[];
      usage: Usage | null;
    }
  | {
      /** null where the line names none. */
      customId: string | null;
      ok: false;
      errorClass: ErrorClass;
      code: string | null;
      /** Short, and fit for a text column. */
      message: string;
      usage: Usage | null;
    };

/** An id of ours has 51 characters at the most; a longer one is not kept. */
const longestCustomId = 100;

/** What reads a line, and how much it may look at for each character of it. */
export type ReadOutcome = ((lineText: string) => LineOutcome) & Pick<ReadAnswer, 'weight'>;

/**
 * Takes a pipeline; returns what reads a line of an output or error file. A line is judged by its error,
 * then by its status, then by its body: refusals and cut answers before the answer itself is parsed.
 * Raises RowmillError where the pipeline's schema cannot be used; reading a line raises nothing.
 */
export function compileOutcome(definition: PipelineDefinition): ReadOutcome {
  const readAnswer = compileAnswer(definition);

  const read = (lineText: string): LineOutcome => {
    const outOfBounds = boundsProblem(lineText);
    if (outOfBounds !== null) return unreadOutcome(lineText, outOfBounds.code);
    const line = parseLine(lineText);
    if (line === null) return failure(null, 'unknown', 'unparseable_line', 'The line is not a JSON object.');
    const customId = readCustomId(line.custom_id);
    const response = asWire(line.response);
    const body = asWire(response.body);
    const usage = normalizeUsage(body.usage);

    const found = requestFailure(line, response, body) ?? readContent(body);
    if (!found.ok) return failure(customId, found.errorClass, found.code, found.message, usage);
    if (customId === null) {
      return failure(null, 'unknown', 'no_custom_id', 'The line has no custom_id that Rowmill wrote.', usage);
    }
    const answer = readAnswer(found.content);
    return answer.ok
      ? { customId, ok: true, values: answer.values, usage }
      : failure(customId, answer.errorClass, answer.code, answer.message, usage);
  };
  return Object.assign(read, { weight: readAnswer.weight });
}

type Wire = Record<string, unknown>;
type Failure = { ok: false; errorClass: ErrorClass; code: string | null; message: string };

/** What the error and the status say, before the body is looked at; null where the request succeeded. */
function requestFailure(line: Wire, response: Wire, body: Wire): Failure | null {
  const status = readStatus(response.status_code);
  const hasFailedStatus = status !== null && (status < 200 || status > 299);
  const error = readError(line.error);
  if (error === null && !hasFailedStatus) {
    return line.response === null || line.response === undefined
      ? failed('unknown', 'no_response', 'The line has neither a response nor an error.')
      : null;
  }
  const told = error ?? readError(body.error) ?? readError(body);
  const errorClass = classOfCode(told?.code ?? null) ?? (hasFailedStatus ? classOfStatus(status) : 'unknown');
  const code = told?.code ?? (status === null ? null : String(status));
  return failed(errorClass, code, told?.message ?? `The request ended with status ${status}.`);
}

function readCustomId(value: unknown): string | null {
  return typeof value === 'string' && value.length <= longestCustomId ? value : null;
}

/** null where none is told: some compatible servers leave it out of a success. */
function readStatus(value: unknown): number | null {
  // Nothing else: Number() calls what it finds in an object.
  if ((typeof value !== 'number' && typeof value !== 'string') || value === '') return null;
  const status = Number(value);
  return Number.isFinite(status) ? status : null;
}

function parseLine(text: string): Wire | null {
  try {
    // A file may begin with a byte order mark.
    const line: unknown = JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);
    return typeof line === 'object' && line !== null && !Array.isArray(line) ? (line as Wire) : null;
  } catch {
    return null;
  }
}

function failed(errorClass: ErrorClass, code: string | null, message: string): Failure {
  return { ok: false, errorClass, code, message };
}

function failure(
  customId: string | null,
  errorClass: ErrorClass,
  code: string | null,
  message: string,
  usage: Usage | null = null,
): LineOutcome {
  return {
    customId,
    ok: false,
    errorClass,
    code: code === null ? null : storable(code, 100),
    message: storable(message, 500),
    usage,
  };
}

/** Messages quote what came from outside, and end in a text column all the same. */
function storable(text: string, maxLength: number): string {
  const short = text.length > maxLength ? `${text.slice(0, maxLength - 1)}\u2026` : text;
  return short.replaceAll('\0', '\u2400').toWellFormed();
}
