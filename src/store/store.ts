import type { ErrorClass } from '../pipeline/error-classes.ts';
import type { InputRow, PipelineDefinition } from '../pipeline/pipeline.ts';
import type { Transport } from './transport.ts';

export type ClaimStatus =
  | 'accepted'
  | 'known'
  | 'paused'
  | 'unknown_pipeline'
  | 'unknown_chunk'
  | 'foreign_rows';

export type ClaimedChunk = { chunk_id: number; pipeline_id: number; row_count: number };
export type StaleIntent = { batch_id: number; key: string; input_file_id: string | null; is_old: boolean };
export type DuePoll = { batch_id: number; provider_batch_id: string; cancel_asked: boolean };
export type EndedBatch = {
  batch_id: number;
  state: 'ended' | 'harvested';
  pipeline_id: number;
  provider_status: string;
  provider_errors: { code: string | null; message: string; line: number | null }[] | null;
  input_file_id: string | null;
  output_file_id: string | null;
  error_file_id: string | null;
  output_position: number;
  error_position: number;
  keep_files: boolean;
};
export type TickCounts = { queued: number; formed: number; posted: number; released: number; more: boolean };

/** How a request failed, and what follows from it for its row. */
export type Verdict = {
  class: ErrorClass;
  code: string | null;
  message: string;
  retried: boolean;
  counted: boolean;
  delay_seconds?: number;
};
export type FailedRow = Verdict & { c: number; n: number; h: string };
/** `o0`, `o1` … are the outputs' values. */
export type AnsweredRow = { c: number; n: number; h: string } & Record<`o${number}`, unknown>;

export type Slice = {
  file: 'output' | 'error';
  from_position: number;
  to_position: number;
  answers: AnsweredRow[];
  failures: FailedRow[];
  unknown_lines: number;
  repeated_lines: number;
  input_tokens: number;
  cached_tokens: number;
  output_tokens: number;
};
export type SliceCounts = {
  enriched: number;
  stale: number;
  gone: number;
  failed: number;
  duplicate: number;
  unknown: number;
};

export type PollResult = {
  batch_id: number;
  provider_status: string;
  is_terminal: boolean;
  output_file_id: string | null;
  error_file_id: string | null;
  requests_completed: number;
  requests_failed: number;
  provider_errors: EndedBatch['provider_errors'];
};

export type Store = ReturnType<typeof createStore>;

/**
 * The SQL functions of a worker, by name; what each does, returns and leaves on a crash stands in its
 * `comment on function`. `worker` is the id under which this process holds leases.
 */
export function createStore(transport: Transport, worker: string) {
  const verdictArgs = (verdict: Verdict) => ({
    error_class: verdict.class,
    code: verdict.code,
    message: verdict.message,
    retried: verdict.retried,
    counted: verdict.counted,
    delay_seconds: verdict.delay_seconds ?? null,
  });

  // What could not be given back. A worker that lives renews whatever stands under its name, so that nobody would
  // ever come by for these.
  const owed = new Set<() => Promise<unknown>>();
  const giveBack = async (call: () => Promise<boolean>): Promise<boolean> => {
    try {
      return await call();
    } catch {
      owed.add(call);
      return false;
    }
  };

  return {
    worker,

    tick: (maxChunks: number) => transport.value<TickCounts>('tick', { max_chunks: maxChunks }),
    /** Gives back what could not be given back before, then renews the rest; rejects where either fails. */
    renewLeases: async (version: string) => {
      for (const call of owed) {
        await call();
        owed.delete(call);
      }
      return await transport.value<number>('renew_leases', { worker, version });
    },

    claimChunk: async (chunkId: number, pipeline: string, lastN: number | null) => {
      const [claim] = await transport.rows<{
        status: ClaimStatus;
        row_count: number | null;
        pipeline_id: number | null;
      }>('claim_chunk', { chunk_id: chunkId, pipeline, worker, last_n: lastN });
      return claim!;
    },
    claimWaitingChunks: (maxChunks: number) =>
      transport.rows<ClaimedChunk>('claim_waiting_chunks', { worker, max_chunks: maxChunks }),
    /** Never rejects: what cannot be given back now is given back before this worker renews any lease. */
    releaseChunk: (chunkId: number) =>
      giveBack(() => transport.value<boolean>('release_chunk', { chunk_id: chunkId, worker })),
    readChunk: (chunkId: number, fromN: number, places: number) =>
      transport.rows<InputRow>('read_chunk', { chunk_id: chunkId, from_n: fromN, place_count: places }),
    /** Resolves with the places that may be sent. */
    holdRows: async (chunkId: number, rows: { n: number; hash: string }[]): Promise<Set<number>> => {
      const held = await transport.rows<{ hold_rows: number }>('hold_rows', {
        chunk_id: chunkId,
        worker,
        rows,
      });
      return new Set(held.map((row) => row.hold_rows));
    },
    putBackRows: (chunkId: number, places: number[]) =>
      transport.value<number>('put_back_rows', { chunk_id: chunkId, worker, places }),
    refuseRows: (chunkId: number, failures: Omit<FailedRow, 'c'>[]) =>
      transport.value<number>('refuse_rows', { chunk_id: chunkId, worker, failures }),
    closeChunk: (chunkId: number) => transport.value<boolean>('close_chunk', { chunk_id: chunkId, worker }),
    getPipeline: (pipelineId: number) =>
      transport.value<PipelineDefinition | null>('get_pipeline', { pipeline_id: pipelineId }),
    notePipelineProblem: (pipelineId: number, problem: string | null) =>
      transport.value<void>('note_pipeline_problem', { pipeline_id: pipelineId, problem }),

    /** Resolves with the batch's id; null where the pipeline was dropped. */
    beginBatch: (key: string, chunkIds: number[], requests: number, bytes: number) =>
      transport.value<number | null>('begin_batch', { worker, key, chunk_ids: chunkIds, requests, bytes }),
    noteInputFile: (batchId: number, inputFileId: string) =>
      transport.value<boolean>('note_input_file', { batch_id: batchId, worker, input_file_id: inputFileId }),
    startBatch: (batchId: number, providerBatchId: string, providerStatus: string) =>
      transport.value<boolean>('start_batch', {
        batch_id: batchId,
        worker,
        provider_batch_id: providerBatchId,
        provider_status: providerStatus,
      }),
    claimStaleIntents: (maxBatches: number) =>
      transport.rows<StaleIntent>('claim_stale_intents', { worker, max_batches: maxBatches }),
    /** Never rejects, as releaseChunk. */
    letGoOfBatch: (batchId: number, problem: string | null) =>
      giveBack(() => transport.value<boolean>('let_go_of_batch', { batch_id: batchId, worker, problem })),
    abandonBatch: (batchId: number, problem: string) =>
      transport.value<boolean>('abandon_batch', { batch_id: batchId, worker, problem }),
    rejectBatch: (batchId: number, verdict: Verdict) =>
      transport.value<number | null>('reject_batch', { batch_id: batchId, worker, ...verdictArgs(verdict) }),

    claimDuePolls: (maxBatches: number) =>
      transport.rows<DuePoll>('claim_due_polls', { max_batches: maxBatches }),
    recordPoll: (result: PollResult) => transport.value<string | null>('record_poll', result),
    notePollProblem: (batchId: number, problem: string) =>
      transport.value<void>('note_poll_problem', { batch_id: batchId, problem }),

    claimEndedBatches: (maxBatches: number) =>
      transport.rows<EndedBatch>('claim_ended_batches', { worker, max_batches: maxBatches }),
    /** null: the batch is not this worker's any more, or the slice was applied before. */
    applyResults: (batchId: number, slice: Slice) =>
      transport.value<SliceCounts | null>('apply_results', { batch_id: batchId, worker, ...slice }),
    finishHarvest: (batchId: number, rest: Verdict) =>
      transport.value<number | null>('finish_harvest', { batch_id: batchId, worker, ...verdictArgs(rest) }),
    finishBatch: (batchId: number) => transport.value<boolean>('finish_batch', { batch_id: batchId, worker }),

    missingMigrations: () => transport.missingMigrations(),
    close: (timeoutMs: number) => transport.close(timeoutMs),
  };
}
