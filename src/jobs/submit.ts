import type { Deps } from '../deps.ts';
import type { ClaimedChunk } from '../store/store.ts';
import type { Submission } from '../submission/submission.ts';
import type { Counts, RunOptions } from './job.ts';
import { recoverIntents } from './recover-intents.ts';

/**
 * Fetches chunks that nobody posted (no pg_net, or a lost post) and takes them to the provider; looks after
 * intents whose worker fell silent. Two workers at once share the chunks; a crash lets the leases run out.
 */
export async function runOnce(deps: Deps & { submission: Submission }, options: RunOptions): Promise<Counts> {
  const recovered = await recoverIntents(deps, options);
  if (options.signal.aborted) return { recovered, fetched: 0, submitted: 0, more: 0 };

  const lease = await deps.store.takeLease();
  let chunks: ClaimedChunk[];
  let results: string[];
  try {
    chunks = await lease.claimWaitingChunks(options.limit);
    deps.metrics.chunks.inc({ came: 'fetched' }, chunks.length);
    // A fetched chunk is read page by page when its turn comes; until then it takes no memory.
    results = await Promise.all(
      chunks.map((chunk) =>
        deps.submission.submit(
          lease,
          { chunkId: chunk.chunk_id, pipelineId: chunk.pipeline_id, rowCount: chunk.row_count, rows: null },
          0,
        ),
      ),
    );
  } finally {
    lease.hold.end();
  }
  const submitted = results.filter((result) => result === 'submitted').length;
  const done = results.filter((result) => result === 'submitted' || result === 'empty').length;
  return {
    recovered,
    fetched: chunks.length,
    submitted,
    // Only where all went well: what was postponed must not be fetched again in the same breath.
    more: chunks.length === options.limit && done === chunks.length ? 1 : 0,
  };
}
