import type { Deps } from '../deps.ts';
import type { Counts, RunOptions } from './job.ts';

/**
 * Renews this worker's leases and takes every pipeline forward in SQL. Runs twice harmlessly; a crash undoes
 * the tick and nothing else.
 */
export async function runOnce(deps: Deps & { version: string }, options: RunOptions): Promise<Counts> {
  if (options.signal.aborted) return { leases: 0, queued: 0, formed: 0, posted: 0, released: 0, more: 0 };
  const leases = await deps.store.renewLeases(deps.version);
  const { queued, formed, posted, released, more } = await deps.store.tick(options.limit);
  return { leases, queued, formed, posted, released, more: more ? 1 : 0 };
}
