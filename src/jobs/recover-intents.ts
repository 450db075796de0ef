import type { Deps } from '../deps.ts';
import { messageOf } from '../errors.ts';
import type { ProviderBatch } from '../provider/provider.ts';
import type { Lease, StaleIntent } from '../store/store.ts';
import { dropFile } from '../submission/drop-file.ts';
import { recordBatch } from '../submission/record-batch.ts';
import { findBatches } from './find-batches.ts';
import type { RunOptions } from './job.ts';

/**
 * Intents without a batch id whose lease ran out: a worker died, or a create had no answer. Each is looked up
 * by its key in the provider's whole list. Found, it is adopted; not found and old enough for the list to
 * know it, its chunks wait again. Until then it is looked up once more later. Returns how many were settled.
 */
export async function recoverIntents(deps: Deps, options: RunOptions): Promise<number> {
  if (options.signal.aborted) return 0;
  const lease = await deps.store.takeLease();
  try {
    const intents = await lease.claimStaleIntents(options.limit);
    if (intents.length === 0) return 0;
    await deps.reached?.('intents_claimed');
    return await settleAll(deps, lease, intents, options.signal);
  } finally {
    lease.hold.end();
  }
}

async function settleAll(
  deps: Deps,
  lease: Lease,
  intents: StaleIntent[],
  signal: AbortSignal,
): Promise<number> {
  let found: Map<string, ProviderBatch[]>;
  try {
    found = await findBatches(deps.provider, new Set(intents.map((intent) => intent.key)), signal);
  } catch (error) {
    const message = messageOf(error);
    deps.logger.warn({ err: error, intents: intents.length }, 'the provider could not list its batches');
    for (const intent of intents) await lease.letGoOfBatch(intent.batch_id, message);
    return 0;
  }

  let settled = 0;
  for (const intent of intents) {
    const logger = deps.logger.child({ batch: intent.batch_id });
    try {
      if (await settle({ ...deps, logger }, lease, intent, found.get(intent.key) ?? [])) settled += 1;
    } catch (error) {
      // One that cannot be settled keeps no other from it.
      logger.error({ err: error }, 'an intent could not be settled; it is looked up again');
      await lease.letGoOfBatch(intent.batch_id, messageOf(error));
    }
  }
  return settled;
}

async function settle(
  deps: Deps,
  lease: Lease,
  intent: StaleIntent,
  batches: ProviderBatch[],
): Promise<boolean> {
  const { logger } = deps;
  if (batches.length > 0) {
    await deps.reached?.('batch_found');
    for (const batch of batches) {
      if (await recordBatch(deps, intent.batch_id, batch)) {
        logger.info({ provider_batch: batch.id }, 'batch adopted');
      }
    }
    return true;
  }
  if (!intent.is_old) {
    await lease.letGoOfBatch(intent.batch_id, 'looked up at the provider, not found yet');
    return false;
  }
  const problem = 'the provider holds no batch of this key';
  if (!(await lease.abandonBatch(intent.batch_id, problem, true, null))) return false;
  await deps.reached?.('intent_given_up');
  logger.info('the provider holds no such batch; its chunks wait again');
  if (intent.input_file_id !== null) await dropFile(deps, intent.input_file_id);
  return true;
}
