import type {
  AbandonCause,
  BatchIntent,
  BeginResult,
  ClaimedChunk,
  ClaimStatus,
  EndedBatch,
  FailedRow,
  HeldBackChunk,
  Slice,
  SliceCounts,
  StaleIntent,
  Sweep,
  Verdict,
} from './calls.ts';
import { claimInSlices, giveInSlices } from './in-slices.ts';
import type { Transport } from './transport.ts';

/** The calls that take, move on or give back what a lease holds; each changes nothing once another has it. */
export function leasedCalls(transport: Transport, worker: string) {
  const verdictArgs = (verdict: Verdict) => ({
    error_class: verdict.class,
    code: verdict.code,
    message: verdict.message,
    retried: verdict.retried,
    counted: verdict.counted,
    noted: verdict.noted ?? true,
    delay_seconds: verdict.delay_seconds ?? null,
  });
  const { maxRows } = transport;
  const claim = <Row>(name: string, most: number, more: Record<string, unknown> = {}) =>
    claimInSlices(most, maxRows, (rows) => transport.rows<Row>(name, { worker, max_batches: rows, ...more }));
  // What cannot be given back is nobody's loss: the lease runs out.
  const giveBack = (name: string, args: Record<string, unknown>) =>
    transport.value<boolean>(name, args).catch(() => false);

  return {
    claimChunk: async (chunkId: number, pipeline: string, lastN: number | null) => {
      const [claimed] = await transport.rows<{
        status: ClaimStatus;
        row_count: number | null;
        pipeline_id: number | null;
        rows_hold: boolean;
      }>('claim_chunk', { chunk_id: chunkId, pipeline, worker, last_n: lastN });
      return claimed!;
    },
    claimWork: async (maxBatches: number): Promise<ClaimedChunk[]> => {
      if (maxRows === Number.POSITIVE_INFINITY) {
        return await transport.rows<ClaimedChunk>('claim_work', { worker, max_batches: maxBatches });
      }
      // A batch has up to a thousand chunks, a row each: one batch at a time.
      const batches = await claimInSlices(maxBatches, 1, async () => {
        const chunks = await transport.rows<ClaimedChunk>('claim_work', { worker, max_batches: 1 });
        return chunks.length > 0 ? [chunks] : [];
      });
      return batches.flatMap((chunks, at) => chunks.map((chunk) => ({ ...chunk, batch: at + 1 })));
    },
    holdBackChunks: (waitsFor: string | null, reason: string | null, chunks: HeldBackChunk[]) =>
      transport.value<number>('hold_back_chunks', { worker, waits_for: waitsFor, reason, chunks }),
    /** Never rejects. */
    releaseChunk: (chunkId: number) => giveBack('release_chunk', { chunk_id: chunkId, worker }),
    /** Resolves with the places that may be sent, each with the scale of its limit on output tokens. */
    holdRows: async (chunkId: number, rows: { n: number; hash: string }[]): Promise<Map<number, number>> => {
      const held = await giveInSlices(rows, maxRows, (some) =>
        transport.rows<{ n: number; output_scale: number }>('hold_rows', {
          chunk_id: chunkId,
          worker,
          rows: some,
        }),
      );
      return new Map(held.map((row) => [row.n, row.output_scale]));
    },
    refuseRows: (chunkId: number, failures: Omit<FailedRow, 'c'>[]) =>
      transport.value<number>('refuse_rows', { chunk_id: chunkId, worker, failures }),
    /** Rows that could not be read, and so were not held. */
    refuseUnreadRows: (chunkId: number, failures: ({ n: number } & Verdict)[]) =>
      transport.value<number>('refuse_unread_rows', { chunk_id: chunkId, worker, failures }),
    closeChunk: (chunkId: number) => transport.value<boolean>('close_chunk', { chunk_id: chunkId, worker }),

    beginBatch: (intent: BatchIntent) => transport.value<BeginResult>('begin_batch', { worker, ...intent }),
    noteInputFile: (batchId: number, inputFileId: string) =>
      transport.value<boolean>('note_input_file', { batch_id: batchId, worker, input_file_id: inputFileId }),
    claimStaleIntents: (maxBatches: number) => claim<StaleIntent>('claim_stale_intents', maxBatches),
    /** Never rejects. */
    letGoOfBatch: (batchId: number, problem: string | null) =>
      giveBack('let_go_of_batch', { batch_id: batchId, worker, problem }),
    abandonBatch: (batchId: number, problem: string, mayHaveLeft: boolean, cause: AbandonCause) =>
      transport.value<boolean>('abandon_batch', {
        batch_id: batchId,
        worker,
        problem,
        may_have_left: mayHaveLeft,
        cause,
      }),
    rejectBatch: (batchId: number, verdict: Verdict, mayHaveLeft: boolean) =>
      transport.value<number | null>('reject_batch', {
        batch_id: batchId,
        worker,
        ...verdictArgs(verdict),
        may_have_left: mayHaveLeft,
      }),
    claimSweeps: (maxBatches: number) => claim<Sweep>('claim_sweeps', maxBatches),
    finishSweep: (batchId: number, beganSecondsAgo: number) =>
      transport.value<boolean>('finish_sweep', {
        batch_id: batchId,
        worker,
        began_seconds_ago: beganSecondsAgo,
      }),

    /** `again`: false for those that give no trouble, true for the others, null for all. */
    claimEndedBatches: (maxBatches: number, again: boolean | null = null) =>
      claim<EndedBatch>('claim_ended_batches', maxBatches, { again }),
    /** null: the batch is not under this lease any more, or the slice was applied before. */
    applyResults: (batchId: number, slice: Slice) =>
      transport.value<SliceCounts | null>('apply_results', { batch_id: batchId, worker, ...slice }),
    /** Resolves with whether the file is to be given up. */
    noteGoneFile: (batchId: number) =>
      transport.value<boolean>('note_gone_file', { batch_id: batchId, worker }),
    /** `foundNoRoom`: the batch was turned away because the provider's queue is full. */
    finishHarvest: (batchId: number, rest: Verdict, foundNoRoom: boolean) =>
      transport.value<number | null>('finish_harvest', {
        batch_id: batchId,
        worker,
        ...verdictArgs(rest),
        found_no_room: foundNoRoom,
      }),
    finishBatch: (batchId: number) => transport.value<boolean>('finish_batch', { batch_id: batchId, worker }),
  };
}
