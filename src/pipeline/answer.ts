import { RowmillError } from '../errors.ts';
import { type AnswerCheck, compileCheck } from './answer-check.ts';
import { parseDocument, storageProblem } from './document.ts';
import type { ErrorClass } from './error-classes.ts';
import type { PipelineDefinition, PipelineOutput } from './pipeline.ts';

/** One value for each output, in their order, fit for JSON.stringify; or why there are none. */
export type Answer =
  | { ok: true; values: unknown[] }
  | { ok: false; errorClass: ErrorClass; code: string | null; message: string };

export type ReadAnswer = ((content: string) => Answer) & Pick<AnswerCheck, 'weight'>;

/**
 * Takes a pipeline; returns what turns the text of a model's answer into the values of its outputs.
 * Raises RowmillError `pipeline_schema_invalid` where the schema cannot be compiled; reading raises nothing.
 */
export function compileAnswer(definition: PipelineDefinition): ReadAnswer {
  if (definition.format === 'text') return Object.assign(readText, { weight: 1 });
  const { check, weight } = compileSchema(definition);
  const { outputs } = definition;

  const readJson = (content: string): Answer => {
    const document = parseDocument(content);
    if (!document.ok) {
      return document.reason === 'not_json'
        ? failed('invalid_json', `The answer is not JSON: ${document.message}`)
        : failed('type_mismatch', `The answer cannot be stored: ${document.message}.`, document.code);
    }
    const { plain, exact } = document;
    // The plain document: the schema knows nothing of numbers kept as text.
    const mismatch = check(plain);
    if (mismatch !== null) return failed('schema_mismatch', mismatch);
    if (!isRecord(plain) || !isRecord(exact)) {
      return failed('schema_mismatch', 'The answer is not an object.');
    }
    const values: unknown[] = [];
    for (const output of outputs) {
      const value = readOutput(output, plain, exact);
      if (!value.ok) return value;
      values.push(value.value);
    }
    return { ok: true, values };
  };
  return Object.assign(readJson, { weight });
}

function readText(content: string): Answer {
  const problem = storageProblem(content);
  return problem === null
    ? { ok: true, values: [content] }
    : failed('type_mismatch', `The answer cannot be stored: ${problem}.`);
}

type OutputValue = { ok: true; value: unknown } | Extract<Answer, { ok: false }>;

function readOutput(
  { name, encoding }: PipelineOutput,
  plain: Record<string, unknown>,
  exact: Record<string, unknown>,
): OutputValue {
  // A column may be called "constructor": only the answer's own members count.
  if (!Object.hasOwn(plain, name)) return { ok: true, value: null };
  if (encoding === 'value') return { ok: true, value: exact[name] };
  const text = plain[name];
  if (text === null) return { ok: true, value: null };
  if (typeof text !== 'string') {
    return failed('type_mismatch', `"${name}" should be a JSON document written as a string.`);
  }
  const document = parseDocument(text);
  if (document.ok) return { ok: true, value: document.exact };
  return document.reason === 'not_json'
    ? failed('type_mismatch', `"${name}" holds text that is not JSON: ${document.message}`)
    : failed('type_mismatch', `"${name}" cannot be stored: ${document.message}.`, document.code);
}

function compileSchema(definition: PipelineDefinition): AnswerCheck {
  try {
    return compileCheck(definition.response_schema_text ?? '');
  } catch (cause) {
    throw new RowmillError('pipeline_schema_invalid', 'The answer\u2019s schema cannot be used.', {
      fields: { pipeline: definition.name, version: definition.version },
      cause,
    });
  }
}

function failed(
  errorClass: ErrorClass,
  message: string,
  code: string | null = null,
): Extract<Answer, { ok: false }> {
  return { ok: false, errorClass, code, message };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
