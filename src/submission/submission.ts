import type { Deps } from '../deps.ts';
import { isDatabaseAway, messageOf, RowmillError } from '../errors.ts';
import type { Lease } from '../store/store.ts';
import { type FileLimits, fileLimits } from './request-file.ts';
import { type SubmitResult, submitWork, type Work } from './submit-work.ts';

export type Submission = ReturnType<typeof createSubmission>;

export type SubmissionLimits = {
  /** Batches on their way at once. */
  concurrency: number;
  /**
   * Bytes of posted bodies in memory, being received or in hand, beyond which a post is turned away. Parsed, a body
   * takes several times as much; a container has 512 MB, of which a worker without work takes 150.
   */
  maxBytes: number;
  /** What one batch takes; without it, what the provider does. */
  file?: Partial<FileLimits>;
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

  async function submit(lease: Lease, work: Work, bytes: number): Promise<SubmitResult | 'failed'> {
    bytesInHand += bytes;
    deps.metrics.bytesInHand.set(bytesInHand);
    try {
      const result = await withTurn(() =>
        submitWork(deps, lease, work, signal, { ...fileLimits, ...limits.file }),
      );
      deps.metrics.batches.inc({ result });
      if (result === 'submitted') onSubmitted();
      return result;
    } catch (error) {
      deps.metrics.batches.inc({ result: 'failed' });
      const logger = deps.logger.child({ chunk: work.chunks[0]?.chunkId, chunks: work.chunks.length });
      const message = messageOf(error);
      const isLost = error instanceof RowmillError && error.code === 'lease_lost';
      if (isLost || isDatabaseAway(error)) {
        logger.warn(`submitting chunks broke off; whoever finds it goes on: ${message}`);
      } else {
        logger.error({ err: error }, 'submitting chunks failed; they wait again');
        await deps.store.notePipelineProblem(work.pipelineId, message).catch(() => {});
      }
      for (const { chunkId } of work.chunks) await lease.releaseChunk(chunkId);
      return 'failed';
    } finally {
      bytesInHand -= bytes;
      deps.metrics.bytesInHand.set(bytesInHand);
    }
  }

  return {
    /** Whether a body of so many bytes may be in memory beside so many others that are not in hand yet; one alone always may. */
    hasRoom: (bytes: number, others = 0) => {
      const held = bytesInHand + others;
      return held === 0 || held + bytes <= limits.maxBytes;
    },
    /** Resolves when the fate of the chunks is known; never rejects. They are under the lease, which the caller ends. */
    submit(lease: Lease, work: Work, bytes: number): Promise<SubmitResult | 'failed'> {
      const result = submit(lease, work, bytes);
      inHand.add(result);
      void result.finally(() => inHand.delete(result));
      return result;
    },
    /** Resolves when nothing is on its way any more. */
    async drain(): Promise<void> {
      while (inHand.size > 0) await Promise.allSettled(inHand);
    },
  };
}
