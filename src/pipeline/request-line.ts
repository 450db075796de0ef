import { RowmillError } from '../errors.ts';
import { customId } from './custom-id.ts';
import { outputLimitOf, withOutputLimit } from './output-limit.ts';
import type { HeldRow, PipelineDefinition } from './pipeline.ts';
import { compilePrompt } from './prompt.ts';

/** Why a row cannot be sent at all: an outcome already, settled without a request. */
export type RequestProblem = { class: 'invalid_request'; message: string };

/** The line without its newline, and the prompt in it; or the reason why there is none. */
export type RequestLine = { line: string; prompt: string } | { problem: RequestProblem };

export type WriteRequestLine = (chunkId: number, row: HeldRow) => RequestLine;

/**
 * Takes a pipeline; returns what writes a row's JSONL line. A prompt that is not well-formed Unicode is a
 * `problem`: it has no UTF-8, and a provider refuses the file that holds it.
 * Raises RowmillError for a pipeline that cannot be compiled; writing a line raises only for a row whose
 * hash or place is malformed.
 *
 * Everything around the prompt is the same for all rows of one scale, so it is made JSON once.
 */
export function compileRequestLine(definition: PipelineDefinition): WriteRequestLine {
  const render = compilePrompt(definition.prompt, definition.inputs, definition.placeholder_style);
  const limit = outputLimitOf(definition);
  const around = (scale: number): Around => {
    const scaled = { ...definition, params: withOutputLimit(definition.params, limit, scale) };
    const [head, tail] = definition.endpoint === '/v1/responses' ? responsesBody(scaled) : chatBody(scaled);
    return [
      onOneLine(`","method":"POST","url":${JSON.stringify(definition.endpoint)},"body":{${head}`),
      onOneLine(`${tail}}}`),
    ];
  };
  const byScale = new Map([[1, around(1)]]);
  const aroundAt = (scale: number): Around => {
    const known = byScale.get(scale) ?? around(scale);
    byScale.set(scale, known);
    return known;
  };

  return (chunkId, row) => {
    const id = customId(chunkId, row.n, row.hash);
    const prompt = render(row.input);
    if (!prompt.isWellFormed()) {
      return { problem: { class: 'invalid_request', message: 'The prompt holds a lone UTF-16 surrogate.' } };
    }
    const [beforePrompt, afterPrompt] = aroundAt(row.scale);
    const line = `{"custom_id":"${id}${beforePrompt}${onOneLine(JSON.stringify(prompt))}${afterPrompt}`;
    return { line, prompt };
  };
}

const lineSeparators = /[\u0085\u2028\u2029]/g;

/**
 * JSON leaves these as they are, and a reader that splits at every Unicode line break (Python's splitlines
 * does) would find two broken lines, for which a provider refuses the whole file.
 */
function onOneLine(json: string): string {
  return json.replace(
    lineSeparators,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The JSON text before and after the prompt, between the braces of the body. */
type Around = [head: string, tail: string];

function chatBody(definition: PipelineDefinition): Around {
  const { model, instructions, params } = definition;
  const system = instructions ? `{"role":"system","content":${JSON.stringify(instructions)}},` : '';
  const format = answerFormat(definition);
  return [
    `"model":${JSON.stringify(model)},"messages":[${system}{"role":"user","content":`,
    `}]${
      format === null
        ? ''
        : `,"response_format":{"type":"json_schema","json_schema":{"name":${format.name},"strict":true,"schema":${format.schema}}}`
    }${members(params, ['model', 'messages', 'response_format'])}`,
  ];
}

function responsesBody(definition: PipelineDefinition): Around {
  const { model, instructions, params } = definition;
  const format = answerFormat(definition);
  const ownText = params.text;
  const textMembers = isRecord(ownText) ? members(ownText, ['format']) : '';
  const formatMember =
    format === null
      ? ''
      : `,"format":{"type":"json_schema","name":${format.name},"strict":true,"schema":${format.schema}}`;
  const text = `${formatMember}${textMembers}`.slice(1);
  return [
    `"model":${JSON.stringify(model)},${instructions ? `"instructions":${JSON.stringify(instructions)},` : ''}"input":`,
    `${text === '' ? '' : `,"text":{${text}}`}${members(params, ['model', 'instructions', 'input', 'text'])}`,
  ];
}

/** JSON text of `,"key":value` for each member that may be set; what the pipeline itself decides is left out. */
function members(object: Record<string, unknown>, reserved: string[]): string {
  return Object.entries(object)
    .filter(([key, value]) => !reserved.includes(key) && value !== undefined)
    .map(([key, value]) => `,${JSON.stringify(key)}:${JSON.stringify(value)}`)
    .join('');
}

/** Name and schema as JSON text; null for plain text. */
function answerFormat(definition: PipelineDefinition): { name: string; schema: string } | null {
  if (definition.format === 'text') return null;
  const text = definition.response_schema_text ?? '';
  try {
    JSON.parse(text);
  } catch (cause) {
    throw new RowmillError('pipeline_schema_invalid', 'The answer\u2019s schema is not JSON.', {
      fields: { pipeline: definition.name, version: definition.version },
      cause,
    });
  }
  return {
    name: JSON.stringify(schemaName(definition.name)),
    // Verbatim but for line breaks, which JSON allows between tokens only and JSONL nowhere.
    schema: text.replace(/[\r\n]+/g, ' ').trim(),
  };
}

/** Providers take 1 to 64 of `[A-Za-z0-9_-]`. */
function schemaName(pipelineName: string): string {
  return pipelineName.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 64) || 'answer';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
