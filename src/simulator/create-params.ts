import type { NewBatch } from './batch-object.ts';
import { ApiError, invalidValue, missingParameter } from './errors.ts';
import { thirtyDays } from './file-store.ts';
import { endpoints, isEndpoint, isJsonObject } from './request.ts';

/** Checks the parameters of `POST /v1/batches`; throws the 400 that they are refused with. */
export function readNewBatch(body: unknown): NewBatch {
  const params = isJsonObject(body) ? body : {};
  for (const name of ['input_file_id', 'endpoint', 'completion_window']) {
    if (params[name] === undefined || params[name] === null) throw missingParameter(name);
  }
  const { input_file_id: inputFileId, endpoint, completion_window: window } = params;
  if (typeof inputFileId !== 'string') throw notA('string', 'input_file_id', inputFileId);
  if (!isEndpoint(endpoint)) throw unsupported('endpoint', endpoint, endpoints);
  if (window !== '24h') throw unsupported('completion_window', window, ['24h']);
  return {
    endpoint,
    inputFileId,
    metadata: readMetadata(params.metadata),
    outputExpiresAfterSeconds: readExpiry('output_expires_after', params.output_expires_after),
  };
}

function readMetadata(value: unknown): Record<string, string> | null {
  if (value === undefined || value === null) return null;
  if (!isJsonObject(value)) throw notA('object', 'metadata', value);
  const entries = Object.entries(value);
  if (entries.length > 16) {
    const message =
      "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, " +
      `but got an object with ${entries.length} properties instead.`;
    throw new ApiError(400, message, { param: 'metadata', code: 'object_above_max_properties' });
  }
  for (const [key, each] of entries) {
    if (typeof each !== 'string') throw notA('string', `metadata.${key}`, each);
    if (key.length > 64) throw tooLong('metadata', 64, key.length);
    if (each.length > 512) throw tooLong(`metadata.${key}`, 512, each.length);
  }
  return value as Record<string, string>;
}

/** Seconds after creation at which a file expires: `{anchor:'created_at',seconds}`, thirty days without. */
export function readExpiry(param: string, value: unknown): number {
  if (value === undefined || value === null) return thirtyDays;
  if (!isJsonObject(value)) throw notA('object', param, value);
  if (value.anchor !== 'created_at') throw unsupported(`${param}.anchor`, value.anchor, ['created_at']);
  const seconds = Number(value.seconds);
  if (!Number.isInteger(seconds) || seconds < 3600 || seconds > thirtyDays) {
    const message = `Invalid '${param}.seconds': expected an integer between 3600 and ${thirtyDays}.`;
    throw invalidValue(`${param}.seconds`, message);
  }
  return seconds;
}

/** 400 for a word that is none of those known. */
export function unsupported(param: string, value: unknown, supported: readonly string[]): ApiError {
  const list = supported.map((each) => `'${each}'`).join(' and ');
  return invalidValue(param, `Invalid value: '${String(value)}'. Supported values are: ${list}.`);
}

function notA(expected: string, param: string, value: unknown): ApiError {
  const got = value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
  const message = `Invalid type for '${param}': expected a ${expected}, but got ${got} instead.`;
  return new ApiError(400, message, { param, code: 'invalid_type' });
}

function tooLong(param: string, limit: number, length: number): ApiError {
  const message =
    `Invalid '${param}': string too long. Expected a string with maximum length ${limit}, ` +
    `but got a string with length ${length} instead.`;
  return new ApiError(400, message, { param, code: 'string_above_max_length' });
}
