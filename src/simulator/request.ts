import { ApiError, missingParameter } from './errors.ts';

export const endpoints = ['/v1/chat/completions', '/v1/responses'] as const;
export type Endpoint = (typeof endpoints)[number];

export function isEndpoint(value: unknown): value is Endpoint {
  return (endpoints as readonly unknown[]).includes(value);
}

export type Json = Record<string, unknown>;

export function isJsonObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a request asks for, taken out of the two shapes that the endpoints have. */
export type ReadRequest = {
  model: string;
  /** The texts of the user's messages: what answers are made from. */
  userText: string;
  /** The texts of all messages, joined by line feeds: what the ledger knows a prompt by. */
  prompt: string;
  schemaText: string | null;
  outputLimit: number | null;
};

/** Reads a request's body; throws the `ApiError` that the request is refused with. */
export function readRequest(endpoint: Endpoint, body: Json): ReadRequest {
  const { model } = body;
  if (typeof model !== 'string' || model === '')
    throw new ApiError(400, 'you must provide a model parameter');
  return endpoint === '/v1/responses' ? readResponses(model, body) : readChat(model, body);
}

/** The same; null where the request will be refused. */
export function readableRequest(endpoint: Endpoint, body: Json): ReadRequest | null {
  try {
    return readRequest(endpoint, body);
  } catch (error) {
    if (error instanceof ApiError) return null;
    throw error;
  }
}

function readChat(model: string, body: Json): ReadRequest {
  const { messages, response_format: format } = body;
  if (messages === undefined || messages === null) throw missingParameter('messages');
  const limit = body.max_completion_tokens ?? body.max_tokens;
  const details = isJsonObject(format) && format.type === 'json_schema' ? format.json_schema : null;
  return {
    model,
    ...readMessages('messages', messages, []),
    schemaText: details === null ? jsonOnly(format) : schemaOf(details, 'response_format.json_schema'),
    outputLimit: typeof limit === 'number' ? limit : null,
  };
}

function readResponses(model: string, body: Json): ReadRequest {
  const { input, instructions, text } = body;
  if (input === undefined || input === null) throw missingParameter('input');
  const format = isJsonObject(text) ? text.format : null;
  const isSchema = isJsonObject(format) && format.type === 'json_schema';
  const messages = typeof input === 'string' ? [{ role: 'user', content: input }] : input;
  return {
    model,
    ...readMessages('input', messages, typeof instructions === 'string' ? [instructions] : []),
    schemaText: isSchema ? schemaOf(format, 'text.format') : jsonOnly(format),
    outputLimit: typeof body.max_output_tokens === 'number' ? body.max_output_tokens : null,
  };
}

function readMessages(param: string, messages: unknown, all: string[]): { userText: string; prompt: string } {
  if (!Array.isArray(messages)) throw invalidType(param, 'an array of objects');
  if (messages.length === 0) {
    throw new ApiError(400, `Invalid '${param}': empty array. Expected an array with minimum length 1.`, {
      param,
      code: 'empty_array',
    });
  }
  const user: string[] = [];
  for (const [index, message] of messages.entries()) {
    if (!isJsonObject(message)) throw invalidType(`${param}[${index}]`, 'an object');
    if (typeof message.role !== 'string') throw missingParameter(`${param}[${index}].role`);
    const text = textOf(message.content);
    all.push(text);
    if (message.role === 'user') user.push(text);
  }
  return { userText: user.length > 0 ? user.join('\n') : all.join('\n'), prompt: all.join('\n') };
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part) => (isJsonObject(part) && typeof part.text === 'string' ? part.text : ''))
    .join('\n');
}

function schemaOf(details: unknown, path: string): string {
  if (!isJsonObject(details)) throw missingParameter(path);
  if (typeof details.name !== 'string') throw missingParameter(`${path}.name`);
  if (!isJsonObject(details.schema)) throw missingParameter(`${path}.schema`);
  return JSON.stringify(details.schema);
}

const anyObject = JSON.stringify({ type: 'object', properties: { answer: { type: 'string' } } });

function jsonOnly(format: unknown): string | null {
  return isJsonObject(format) && format.type === 'json_object' ? anyObject : null;
}

function invalidType(param: string, expected: string): ApiError {
  return new ApiError(400, `Invalid type for '${param}': expected ${expected}.`, {
    param,
    code: 'invalid_type',
  });
}
