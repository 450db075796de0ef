import type { Deps } from '../deps.ts';
import type { ClaimedChunk } from '../store/store.ts';
import type { Submission } from '../submission/submission.ts';
import type { Work } from '../submission/submit-work.ts';
import type { Counts, RunOptions } from './job.ts';

/**
 * Fetches chunks that nobody posted (no pg_net, or a lost post) or that waited for room, packed into batches, and takes
 * them to the provider. Two workers at once share the chunks; a crash lets the leases run out.
 */
export async function runOnce(deps: Deps & { submission: Submission }, options: RunOptions): Promise<Counts> {
  if (options.signal.aborted) return { fetched: 0, submitted: 0, more: 0 };

  const lease = await deps.store.takeLease();
  let work: Work[];
  let results: string[];
  try {
    const chunks = await lease.claimWork(options.limit);
    work = [...Map.groupBy(chunks, (chunk) => chunk.batch).values()].map(toWork);
    deps.metrics.chunks.inc({ came: 'fetched' }, chunks.length);
    // Fetched chunks are read page by page when their turn comes; until then they take no memory.
    results = await Promise.all(work.map((some) => deps.submission.submit(lease, some, 0)));
  } finally {
    lease.hold.end();
  }
  const submitted = results.filter((result) => result === 'submitted').length;
  const done = results.filter((result) => result === 'submitted' || result === 'empty').length;
  return {
    fetched: work.reduce((sum, { chunks }) => sum + chunks.length, 0),
    submitted,
    // Only where all went well: what was postponed must not be fetched again in the same breath.
    more: work.length === options.limit && done === work.length ? 1 : 0,
  };
}

function toWork(chunks: ClaimedChunk[]): Work {
  return {
    pipelineId: chunks[0]!.pipeline_id,
    chunks: chunks.map((chunk) => ({ chunkId: chunk.chunk_id, rowCount: chunk.row_count, rows: null })),
  };
}
