import { ApiError } from './errors.ts';
import { newBatchId, unixSeconds } from './ids.ts';
import type { Endpoint } from './request.ts';

export type BatchErrorItem = {
  code: string;
  message: string;
  param: string | null;
  line: number | null;
};

export type BatchState =
  | 'validating'
  | 'failed'
  | 'in_progress'
  | 'finalizing'
  | 'completed'
  | 'expired'
  | 'cancelling'
  | 'cancelled';

/** The object as it goes over the wire: every key is there from the beginning. */
export type BatchObject = {
  id: string;
  object: 'batch';
  endpoint: Endpoint;
  model: string | null;
  errors: { object: 'list'; data: BatchErrorItem[] } | null;
  input_file_id: string;
  completion_window: '24h';
  status: BatchState;
  output_file_id: string | null;
  error_file_id: string | null;
  created_at: number;
  in_progress_at: number | null;
  expires_at: number;
  finalizing_at: number | null;
  completed_at: number | null;
  failed_at: number | null;
  expired_at: number | null;
  cancelling_at: number | null;
  cancelled_at: number | null;
  request_counts: { total: number; completed: number; failed: number };
  usage: {
    input_tokens: number;
    input_tokens_details: { cached_tokens: number };
    output_tokens: number;
    output_tokens_details: { reasoning_tokens: number };
    total_tokens: number;
  };
  metadata: Record<string, string> | null;
};

export type NewBatch = {
  endpoint: Endpoint;
  inputFileId: string;
  metadata: Record<string, string> | null;
  outputExpiresAfterSeconds: number;
};

export function newBatchObject({ endpoint, inputFileId, metadata }: NewBatch): BatchObject {
  const createdAt = unixSeconds();
  return {
    id: newBatchId(createdAt),
    object: 'batch',
    endpoint,
    model: null,
    errors: null,
    input_file_id: inputFileId,
    completion_window: '24h',
    status: 'validating',
    output_file_id: null,
    error_file_id: null,
    created_at: createdAt,
    in_progress_at: null,
    expires_at: createdAt + 86_400,
    finalizing_at: null,
    completed_at: null,
    failed_at: null,
    expired_at: null,
    cancelling_at: null,
    cancelled_at: null,
    request_counts: { total: 0, completed: 0, failed: 0 },
    usage: {
      input_tokens: 0,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: 0,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 0,
    },
    metadata,
  };
}

// Which states a batch may go to from each; the terminal ones lead nowhere.
const transitions: Record<BatchState, readonly BatchState[]> = {
  validating: ['in_progress', 'failed', 'cancelling'],
  in_progress: ['finalizing', 'cancelling', 'expired'],
  finalizing: ['completed'],
  cancelling: ['cancelled'],
  completed: [],
  failed: [],
  expired: [],
  cancelled: [],
};

/** Whether a batch is in a state that it never leaves. */
export function hasEnded({ status }: BatchObject): boolean {
  return transitions[status].length === 0;
}

/** Moves a batch on and sets the timestamp of its new state. */
export function moveTo(batch: BatchObject, state: Exclude<BatchState, 'validating'>): void {
  if (!transitions[batch.status].includes(state)) {
    throw new Error(`batch ${batch.id} cannot go from ${batch.status} to ${state}`);
  }
  batch.status = state;
  batch[`${state}_at`] = unixSeconds();
}

/** The 404 for a batch that is not known. */
export function noSuchBatch(id: string): ApiError {
  return new ApiError(404, `No batch found with id '${id}'.`);
}

/** The 409 for a batch that has gone too far to be cancelled. */
export function uncancellable(batch: BatchObject): ApiError {
  return new ApiError(409, `Cannot cancel a batch with status '${batch.status}'.`);
}
