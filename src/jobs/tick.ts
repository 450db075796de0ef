import type { Deps } from '../deps.ts';
import type { Counts, RunOptions } from './job.ts';

/** Takes every pipeline forward in SQL. Runs twice harmlessly; a crash undoes the tick and nothing else. */
export async function runOnce(deps: Deps, options: RunOptions): Promise<Counts> {
  if (options.signal.aborted) return { queued: 0, formed: 0, posted: 0, released: 0, more: 0 };
  const { more, ...counts } = await deps.store.tick(options.limit);
  return { ...counts, more: more ? 1 : 0 };
}
