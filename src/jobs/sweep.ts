import type { Deps } from '../deps.ts';
import { createFileDrop } from '../submission/drop-file.ts';
import { keyOfFileName } from '../submission/file-name.ts';
import { recordBatch } from '../submission/record-batch.ts';
import { findBatches } from './find-batches.ts';
import type { Counts, RunOptions } from './job.ts';
import { type ListLimits, listLimits, withinLimits } from './within-limits.ts';

/**
 * Searches the provider for what given-up intents have left: a batch whose create arrived late is cancelled, a file
 * whose upload broke off is deleted. Each intent is searched for until settings.adopt_after has passed since it was
 * given up. Whatever fails is searched for again, and so is what a list that did not end may hold; files of other names are
 * never touched.
 */
export async function runOnce(
  deps: Deps,
  options: RunOptions,
  limits: ListLimits = listLimits,
): Promise<Counts> {
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
    const found = await findBatches(deps.provider, intents, options.signal, limits);
    for (const [key, batches] of found.batches) {
      let isSurplus = false;
      for (const batch of batches) {
        if ((await recordBatch(deps, idByKey.get(key)!, batch)) === 'taken') continue;
        isSurplus = true;
        strays += 1;
      }
      // Its file goes with it when it has ended. A batch of another intent has a file of its own.
      if (isSurplus) idByKey.delete(key);
    }
    for (const [key, problem] of found.unreadable) {
      // It cannot be cancelled without its id, and its file may be in use: searched for again.
      if (!idByKey.delete(key)) continue;
      deps.logger.error({ problem }, 'the provider lists a batch of a given-up intent that cannot be used');
    }

    const dropFile = createFileDrop(deps);
    let files = 0;
    for await (const page of withinLimits(deps.provider.listFiles(options.signal), limits, options.signal)) {
      for (const file of page) {
        const key = keyOfFileName(file.name);
        if (key === null || !idByKey.has(key)) continue;
        if (await dropFile(file.id)) files += 1;
        // Searched for again, and it keeps no other from being done.
        else idByKey.delete(key);
        await deps.reached?.('swept_file_deleted');
      }
    }
    const secondsAgo = (performance.now() - beganAt) / 1000;
    for (const batchId of idByKey.values()) await lease.finishSweep(batchId, secondsAgo);
    if (strays + files > 0) deps.logger.info({ strays, files }, 'swept up at the provider');
    return { swept: intents.length, strays, files, more: intents.length === options.limit ? 1 : 0 };
  } finally {
    lease.hold.end();
  }
}
