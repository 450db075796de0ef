import type { BatchErrorItem, BatchObject } from './batch-object.ts';
import { batchLimits } from './batch-validation.ts';
import {
  duplicateCustomId,
  emptyFile,
  invalidJsonLine,
  invalidMethod,
  invalidUrl,
  type LineError,
  mismatchedModel,
  missingFile,
  missingInBody,
  missingKey,
  modelNotFound,
  streamingUnsupported,
  tokenLimitExceeded,
  tooLargeFile,
  tooManyRequests,
} from './validation-errors.ts';

/** An error that fails a batch, as it reads for a given one. */
type Form = (batch: BatchObject) => BatchErrorItem;

const modelOf = (batch: BatchObject) => batch.model ?? 'unknown';
// Where the error stands in a line, that is the first: every file has one.
const inLine = (error: LineError): BatchErrorItem => ({ ...error, line: 1 });

// Codes may stand here more than once, for each form that they come in.
const forms: [code: string, form: Form][] = [
  ['invalid_request', (batch) => missingFile(batch.input_file_id)],
  ['invalid_json_line', () => inLine(invalidJsonLine())],
  ['missing_required_parameter', () => inLine(missingKey('custom_id'))],
  ['invalid_url', () => inLine(invalidUrl())],
  ['model_not_found', (batch) => inLine(modelNotFound(modelOf(batch)))],
  ['streaming_unsupported', () => inLine(streamingUnsupported('Chat Completions'))],
  ['mismatched_model', (batch) => inLine(mismatchedModel('gpt-4.1-nano', modelOf(batch)))],
  ['token_limit_exceeded', (batch) => tokenLimitExceeded(batch.model)],
  ['duplicate_custom_id', () => inLine(duplicateCustomId('c-1'))],
  ['empty_file', () => emptyFile()],
  ['too_many_tasks', () => tooManyRequests(batchLimits.requests)],
  ['file_too_large', (batch) => tooLargeFile(batchLimits.bytes, batch.model)],
  ['invalid_method', () => inLine(invalidMethod())],
  ['invalid_request', () => inLine(missingInBody('model', 'Model'))],
  ['invalid_request', () => inLine(missingInBody('messages', 'Messages'))],
  ['missing_required_parameter', () => inLine(missingKey('method'))],
  ['missing_required_parameter', () => inLine(missingKey('url'))],
  ['missing_required_parameter', () => inLine(missingKey('body'))],
];

// Azure's words for some of the same; its messages are not known. They never take turns with the others.
const azureCodes = [
  'url_mismatch',
  'empty_batch',
  'model_mismatch',
  'input_modified',
  'input_no_permissions',
] as const;

/** Every code that a batch can be made to fail with. */
export const validationCodes: string[] = [...new Set([...forms.map(([code]) => code), ...azureCodes])];

/**
 * The error of a code, or of any; where it has several forms, `turn` (from 0) says which. With a line it is about
 * that one: in the forms that stand in lines, where the code has such.
 */
export function validationErrorOf(
  code: string | undefined,
  turn: number,
  batch: BatchObject,
  line?: number,
): BatchErrorItem {
  const ofCode = forms
    .filter(([each]) => code === undefined || each === code)
    .map(([, form]): BatchErrorItem => form(batch));
  const inLines = line === undefined ? [] : ofCode.filter((each) => each.line !== null);
  const fitting = inLines.length > 0 ? inLines : ofCode;
  const plain = { code: code!, message: `The batch failed validation: ${code}.`, param: null, line: null };
  const chosen = fitting[turn % fitting.length] ?? plain;
  return line === undefined ? chosen : { ...chosen, line };
}
