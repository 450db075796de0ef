import type { BatchErrorItem } from './batch-object.ts';

/** An error in a line of an input file, before it is known which. */
export type LineError = Omit<BatchErrorItem, 'line'>;

export function invalidJsonLine(): LineError {
  return { code: 'invalid_json_line', param: null, message: 'This line is not parseable as valid JSON.' };
}

export function missingKey(param: 'custom_id' | 'method' | 'url' | 'body'): LineError {
  return { code: 'missing_required_parameter', param, message: `Missing required parameter: '${param}'.` };
}

export function duplicateCustomId(customId: string): LineError {
  return {
    code: 'duplicate_custom_id',
    param: 'custom_id',
    message: `The custom_id '${customId}' is used by another request of this batch. It must be unique.`,
  };
}

export function invalidMethod(): LineError {
  return {
    code: 'invalid_method',
    param: 'method',
    message: "Invalid method. Supported values are: 'POST'.",
  };
}

export function invalidUrl(): LineError {
  const message = 'The URL provided for this request does not match the batch endpoint.';
  return { code: 'invalid_url', param: 'url', message };
}

export function missingInBody(param: string, name: string): LineError {
  return { code: 'invalid_request', param: `body.${param}`, message: `${name} parameter is required.` };
}

export function modelNotFound(model: string): LineError {
  const message = `The provided model '${model}' is not supported by the Batch API.`;
  return { code: 'model_not_found', param: 'body.model', message };
}

export function mismatchedModel(model: string, others: string): LineError {
  const message = `The model '${model}' does not match the model '${others}' of the batch's other requests.`;
  return { code: 'mismatched_model', param: 'body.model', message };
}

export function streamingUnsupported(api: string): LineError {
  const message = `${api}: Streaming is not supported in the Batch API.`;
  return { code: 'streaming_unsupported', param: 'body.stream', message };
}

export function missingFile(id: string): BatchErrorItem {
  const message = `Cannot find file ${id}, or organization org-simulator does not have access to it.`;
  return { code: 'invalid_request', message, param: 'file_id', line: null };
}

export function emptyFile(): BatchErrorItem {
  return ofFile('empty_file', 'The batch input file is empty.');
}

export function tooManyRequests(limit: number): BatchErrorItem {
  const message = `The batch input file contains more requests than the maximum of ${limit}.`;
  return ofFile('too_many_tasks', message);
}

export function tooLargeFile(limit: number, model: string | null): BatchErrorItem {
  const message = `The batch input file is larger than the ${limit} maximum for the ${model ?? 'unknown'} model`;
  return ofFile('file_too_large', message);
}

export function tokenLimitExceeded(model: string | null, limit?: number): BatchErrorItem {
  return ofFile('token_limit_exceeded', tokenLimitMessage(model, limit));
}

/** The words of it, which some regions answer a create with. */
export function tokenLimitMessage(model: string | null, limit = 2_000_000): string {
  return (
    `Enqueued token limit reached for ${model ?? 'the model'} in organization org-simulator. ` +
    `Limit: ${limit.toLocaleString('en-US')} enqueued tokens. ` +
    'Please try again once some in_progress batches have been completed.'
  );
}

function ofFile(code: string, message: string): BatchErrorItem {
  return { code, message, param: null, line: null };
}
