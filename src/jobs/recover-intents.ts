import type { Logger } from 'pino';
import type { Deps } from '../deps.ts';
import { messageOf } from '../errors.ts';
import type { ProviderBatch } from '../provider/provider.ts';
import type { StaleIntent } from '../store/store.ts';
import { dropFile } from '../submission/drop-file.ts';
import type { RunOptions } from './job.ts';

/**
 * Intents without a batch id whose lease ran out: a worker died, or a create had no answer. Each is looked up
 * by its key in the provider's whole list. Found, it is adopted; not found and old enough for the list to
 * know it, its chunks wait again. Until then it is looked up once more later. Returns how many were settled.
 */
export async function recoverIntents(deps: Deps, options: RunOptions): Promise<number> {
  if (options.signal.aborted) return 0;
  const intents = await deps.store.claimStaleIntents(options.limit);
  if (intents.length === 0) return 0;

  const wanted = new Set(intents.map((intent) => intent.key));
  const found = new Map<string, ProviderBatch>();
  try {
    for await (const batch of deps.provider.listBatches(options.signal)) {
      const key = batch.metadata.rowmill_key;
      if (key === undefined || !wanted.delete(key)) continue;
      found.set(key, batch);
      if (wanted.size === 0) break;
    }
  } catch (error) {
    const message = messageOf(error);
    deps.logger.warn({ err: error, intents: intents.length }, 'the provider could not list its batches');
    for (const intent of intents) await deps.store.letGoOfBatch(intent.batch_id, message);
    return 0;
  }

  let settled = 0;
  for (const intent of intents) {
    const logger = deps.logger.child({ batch: intent.batch_id });
    try {
      if (await settle(deps, intent, found.get(intent.key), logger)) settled += 1;
    } catch (error) {
      // One that cannot be settled keeps no other from it.
      logger.error({ err: error }, 'an intent could not be settled; it is looked up again');
      await deps.store.letGoOfBatch(intent.batch_id, messageOf(error));
    }
  }
  return settled;
}

async function settle(
  deps: Deps,
  intent: StaleIntent,
  batch: ProviderBatch | undefined,
  logger: Logger,
): Promise<boolean> {
  if (batch) {
    const isAdopted = await deps.store.startBatch(intent.batch_id, batch.id, batch.status);
    if (isAdopted) logger.info({ provider_batch: batch.id }, 'batch adopted');
    return isAdopted;
  }
  if (!intent.is_old) {
    await deps.store.letGoOfBatch(intent.batch_id, 'looked up at the provider, not found yet');
    return false;
  }
  if (!(await deps.store.abandonBatch(intent.batch_id, 'the provider holds no batch of this key')))
    return false;
  logger.info('the provider holds no such batch; its chunks wait again');
  if (intent.input_file_id !== null) await dropFile(deps, logger, intent.input_file_id);
  return true;
}
