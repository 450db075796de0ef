import type { FileHandle } from 'node:fs/promises';
import type { BatchErrorItem } from './batch-object.ts';
import { readLines } from './lines.ts';
import { hasBatchSupport } from './models.ts';
import { Breather } from './pauses.ts';
import { type Endpoint, isJsonObject, type Json } from './request.ts';

export type BatchLimits = { bytes: number; requests: number; errors: number };

/**
 * 50,000 requests and 200 MB, which turned out to be MiB. How many bad lines are reported is not known;
 * a hundred keeps the object small.
 */
export const batchLimits: BatchLimits = { bytes: 209_715_200, requests: 50_000, errors: 100 };

export type Validation = { errors: BatchErrorItem[]; total: number; model: string | null };

/** Reads the whole input file once and reports what is wrong with it, line by line. */
export async function validateInput(
  handle: FileHandle,
  endpoint: Endpoint,
  signal: AbortSignal,
  limits: BatchLimits = batchLimits,
): Promise<Validation> {
  const errors: BatchErrorItem[] = [];
  const found = { total: 0, model: null as string | null, customIds: new Set<string>() };
  const { size } = await handle.stat();
  const breather = new Breather();

  reading: for await (const lines of readLines(handle)) {
    for (const line of lines) {
      found.total++;
      const error = lineError(line, endpoint, found);
      if (error) errors.push({ ...error, line: found.total });
      if (breather.isDue()) await breather.breathe();
      if (found.total > limits.requests || errors.length >= limits.errors || signal.aborted) break reading;
      // The model is wanted for the message; one line is enough for that.
      if (size > limits.bytes) break reading;
    }
  }
  const { total, model } = found;
  if (size > limits.bytes) errors.splice(0, errors.length, tooLarge(limits.bytes, model));
  else if (total > limits.requests) errors.push(tooMany(limits.requests));
  else if (total === 0) errors.push(fileError('empty_file', 'The batch input file is empty.'));
  return { errors, total, model };
}

type Found = { total: number; model: string | null; customIds: Set<string> };
type LineError = Omit<BatchErrorItem, 'line'>;

function lineError(text: string, endpoint: Endpoint, found: Found): LineError | null {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    line = null;
  }
  if (!isJsonObject(line)) {
    return { code: 'invalid_json_line', param: null, message: 'This line is not parseable as valid JSON.' };
  }
  const { custom_id: customId, method, url, body } = line;
  if (typeof customId !== 'string' || customId === '') return missing('custom_id');
  if (method === undefined || method === null) return missing('method');
  if (url === undefined || url === null) return missing('url');
  if (!isJsonObject(body)) return missing('body');
  if (found.customIds.has(customId)) {
    return {
      code: 'duplicate_custom_id',
      param: 'custom_id',
      message: `The custom_id '${customId}' is used by another request of this batch. It must be unique.`,
    };
  }
  found.customIds.add(customId);
  if (method !== 'POST') {
    return {
      code: 'invalid_method',
      param: 'method',
      message: "Invalid method. Supported values are: 'POST'.",
    };
  }
  if (url !== endpoint) {
    const message = 'The URL provided for this request does not match the batch endpoint.';
    return { code: 'invalid_url', param: 'url', message };
  }
  return bodyError(body, endpoint, found);
}

function bodyError(body: Json, endpoint: Endpoint, found: Found): LineError | null {
  const { model } = body;
  if (typeof model !== 'string' || model === '') return required('model', 'Model');
  if (endpoint === '/v1/chat/completions' && body.messages === undefined)
    return required('messages', 'Messages');
  if (!hasBatchSupport(model)) {
    const message = `The provided model '${model}' is not supported by the Batch API.`;
    return { code: 'model_not_found', param: 'body.model', message };
  }
  found.model ??= model;
  if (found.model !== model) {
    const message = `The model '${model}' does not match the model '${found.model}' of the batch's other requests.`;
    return { code: 'mismatched_model', param: 'body.model', message };
  }
  if (body.stream === true) {
    const api = endpoint === '/v1/responses' ? 'Responses' : 'Chat Completions';
    const message = `${api}: Streaming is not supported in the Batch API.`;
    return { code: 'streaming_unsupported', param: 'body.stream', message };
  }
  return null;
}

function missing(param: string): LineError {
  return { code: 'missing_required_parameter', param, message: `Missing required parameter: '${param}'.` };
}

function required(param: string, name: string): LineError {
  return { code: 'invalid_request', param: `body.${param}`, message: `${name} parameter is required.` };
}

function fileError(code: string, message: string): BatchErrorItem {
  return { code, message, param: null, line: null };
}

function tooMany(limit: number): BatchErrorItem {
  return fileError(
    'too_many_tasks',
    `The batch input file contains more requests than the maximum of ${limit}.`,
  );
}

function tooLarge(limit: number, model: string | null): BatchErrorItem {
  const text = `The batch input file is larger than the ${limit} maximum for the ${model ?? 'unknown'} model`;
  return fileError('file_too_large', text);
}
