import type { Deps } from '../deps.ts';
import { isDatabaseAway, messageOf, RowmillError } from '../errors.ts';
import type { Lease } from '../store/store.ts';
import { type AcceptedChunk, type SubmitResult, submitChunk } from './submit-chunk.ts';

export type Submission = ReturnType<typeof createSubmission>;

export type SubmissionLimits = {
  /** Chunks on their way at once. */
  concurrency: number;
  /** Bytes of posted bodies in memory, beyond which a post is turned away. */
  maxBytes: number;
  /** Bytes of one batch's file; without it, what the provider takes. */
  maxFileBytes?: number;
};

const defaultLimits: SubmissionLimits = { concurrency: 2, maxBytes: 48_000_000 };

/**
 * Takes accepted chunks to the provider in the background, a few at a time. Routes hand in what was posted,
 * the submit job what it fetched. It holds nothing that matters: what is lost with the process waits in its
 * table for a lease to run out.
 */
export function createSubmission(
  deps: Deps,
  signal: AbortSignal,
  onSubmitted: () => void,
  limits: SubmissionLimits = defaultLimits,
) {
  let bytesInHand = 0;
  let running = 0;
  const queue: (() => void)[] = [];
  const inHand = new Set<Promise<unknown>>();

  async function withTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    if (running >= limits.concurrency) await new Promise<void>((resolve) => queue.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = queue.shift();
      if (next) next();
      else running -= 1;
    }
  }

  async function submit(lease: Lease, chunk: AcceptedChunk, bytes: number): Promise<SubmitResult | 'failed'> {
    bytesInHand += bytes;
    deps.metrics.bytesInHand.set(bytesInHand);
    try {
      const result = await withTurn(() => submitChunk(deps, lease, chunk, signal, limits.maxFileBytes));
      deps.metrics.batches.inc({ result });
      if (result === 'submitted') onSubmitted();
      return result;
    } catch (error) {
      deps.metrics.batches.inc({ result: 'failed' });
      const logger = deps.logger.child({ chunk: chunk.chunkId });
      const message = messageOf(error);
      const isLost = error instanceof RowmillError && error.code === 'lease_lost';
      if (isLost || isDatabaseAway(error)) {
        logger.warn(`submitting a chunk broke off; whoever finds it goes on: ${message}`);
      } else {
        logger.error({ err: error }, 'submitting a chunk failed; it waits again');
        await deps.store.notePipelineProblem(chunk.pipelineId, message).catch(() => {});
      }
      await lease.releaseChunk(chunk.chunkId);
      return 'failed';
    } finally {
      bytesInHand -= bytes;
      deps.metrics.bytesInHand.set(bytesInHand);
    }
  }

  return {
    /** Whether a body of so many bytes may come in; one alone always may. */
    hasRoom: (bytes: number) => bytesInHand === 0 || bytesInHand + bytes <= limits.maxBytes,
    /** Resolves when the chunk's fate is known; never rejects. The chunk is under the lease, which the caller ends. */
    submit(lease: Lease, chunk: AcceptedChunk, bytes: number): Promise<SubmitResult | 'failed'> {
      const work = submit(lease, chunk, bytes);
      inHand.add(work);
      void work.finally(() => inHand.delete(work));
      return work;
    },
    /** Resolves when nothing is on its way any more. */
    async drain(): Promise<void> {
      while (inHand.size > 0) await Promise.allSettled(inHand);
    },
  };
}
