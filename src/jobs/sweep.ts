import type { Deps } from '../deps.ts';
import { dropFile } from '../submission/drop-file.ts';
import { keyOfFileName } from '../submission/file-name.ts';
import { recordBatch } from '../submission/record-batch.ts';
import { findBatches } from './find-batches.ts';
import type { Counts, RunOptions } from './job.ts';

/**
 * Searches the provider for what given-up intents have left: a batch whose create arrived late is cancelled, a file
 * whose upload broke off is deleted. Each intent is searched for until settings.adopt_after has passed since it was
 * given up. Whatever fails is searched for again; files of other names are never touched.
 */
export async function runOnce(deps: Deps, options: RunOptions): Promise<Counts> {
  const nothing = { swept: 0, strays: 0, files: 0, more: 0 };
  if (options.signal.aborted) return nothing;
  const lease = await deps.store.takeLease();
  try {
    const intents = await lease.claimSweeps(options.limit);
    if (intents.length === 0) return nothing;
    await deps.reached?.('sweep_claimed');
    const beganAt = performance.now();
    const idByKey = new Map(intents.map((intent) => [intent.key, intent.batch_id]));

    let strays = 0;
    const found = await findBatches(deps.provider, new Set(idByKey.keys()), options.signal);
    for (const [key, batches] of found) {
      for (const batch of batches) await recordBatch(deps, idByKey.get(key)!, batch);
      strays += batches.length;
      // Its file goes with it when it has ended.
      idByKey.delete(key);
    }

    let files = 0;
    for await (const file of deps.provider.listFiles(options.signal)) {
      const key = keyOfFileName(file.name);
      if (key === null || !idByKey.has(key)) continue;
      if (await dropFile(deps, file.id)) files += 1;
      // Searched for again, and it keeps no other from being done.
      else idByKey.delete(key);
      await deps.reached?.('swept_file_deleted');
    }
    const secondsAgo = (performance.now() - beganAt) / 1000;
    for (const batchId of idByKey.values()) await lease.finishSweep(batchId, secondsAgo);
    if (strays + files > 0) deps.logger.info({ strays, files }, 'swept up at the provider');
    return { swept: intents.length, strays, files, more: intents.length === options.limit ? 1 : 0 };
  } finally {
    lease.hold.end();
  }
}
