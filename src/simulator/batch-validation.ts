import type { FileHandle } from 'node:fs/promises';
import type { BatchErrorItem } from './batch-object.ts';
import { readLines } from './lines.ts';
import { hasBatchSupport } from './models.ts';
import { Breather } from './pauses.ts';
import { type Endpoint, isJsonObject, type Json } from './request.ts';
import { enqueuedTokensOf } from './tokens.ts';
import {
  duplicateCustomId,
  emptyFile,
  invalidJsonLine,
  invalidMethod,
  invalidUrl,
  type LineError,
  mismatchedModel,
  missingInBody,
  missingKey,
  modelNotFound,
  streamingUnsupported,
  tooLargeFile,
  tooManyRequests,
} from './validation-errors.ts';

export type BatchLimits = { bytes: number; requests: number; errors: number };

/**
 * 50,000 requests and 200 MB, which turned out to be MiB. How many bad lines are reported is not known;
 * a hundred keeps the object small.
 */
export const batchLimits: BatchLimits = { bytes: 209_715_200, requests: 50_000, errors: 100 };

export type Validation = {
  errors: BatchErrorItem[];
  total: number;
  model: string | null;
  /** What the requests add to the enqueued tokens of their model. */
  inputTokens: number;
};

/** A last word about a request that is well by itself: the error that it has all the same. */
export type LineCheck = (body: Json) => LineError | undefined;

/** Reads the whole input file once and reports what is wrong with it, line by line. */
export async function validateInput(
  handle: FileHandle,
  endpoint: Endpoint,
  signal: AbortSignal,
  limits: BatchLimits = batchLimits,
  check?: LineCheck,
): Promise<Validation> {
  const errors: BatchErrorItem[] = [];
  const found: Found = { total: 0, model: null, inputTokens: 0, customIds: new Set() };
  const { size } = await handle.stat();
  const breather = new Breather();

  reading: for await (const lines of readLines(handle)) {
    for (const line of lines) {
      found.total++;
      const error = lineError(line, endpoint, found, check);
      if (error) errors.push({ ...error, line: found.total });
      if (breather.isDue()) await breather.breathe();
      if (found.total > limits.requests || errors.length >= limits.errors || signal.aborted) break reading;
      // The model is wanted for the message; one line is enough for that.
      if (size > limits.bytes) break reading;
    }
  }
  const { total, model, inputTokens } = found;
  if (size > limits.bytes) errors.splice(0, errors.length, tooLargeFile(limits.bytes, model));
  else if (total > limits.requests) errors.push(tooManyRequests(limits.requests));
  else if (total === 0) errors.push(emptyFile());
  return { errors, total, model, inputTokens };
}

type Found = Omit<Validation, 'errors'> & { customIds: Set<string> };

function lineError(text: string, endpoint: Endpoint, found: Found, check?: LineCheck): LineError | null {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    line = null;
  }
  if (!isJsonObject(line)) return invalidJsonLine();
  const { custom_id: customId, method, url, body } = line;
  if (typeof customId !== 'string' || customId === '') return missingKey('custom_id');
  if (method === undefined || method === null) return missingKey('method');
  if (url === undefined || url === null) return missingKey('url');
  if (!isJsonObject(body)) return missingKey('body');
  if (found.customIds.has(customId)) return duplicateCustomId(customId);
  found.customIds.add(customId);
  if (method !== 'POST') return invalidMethod();
  if (url !== endpoint) return invalidUrl();
  const error = bodyError(body, endpoint, found) ?? check?.(body) ?? null;
  if (error === null) found.inputTokens += enqueuedTokensOf(endpoint, body);
  return error;
}

function bodyError(body: Json, endpoint: Endpoint, found: Found): LineError | null {
  const { model } = body;
  if (typeof model !== 'string' || model === '') return missingInBody('model', 'Model');
  if (endpoint === '/v1/chat/completions' && body.messages === undefined)
    return missingInBody('messages', 'Messages');
  if (!hasBatchSupport(model)) return modelNotFound(model);
  found.model ??= model;
  if (found.model !== model) return mismatchedModel(model, found.model);
  if (body.stream === true) {
    return streamingUnsupported(endpoint === '/v1/responses' ? 'Responses' : 'Chat Completions');
  }
  return null;
}
