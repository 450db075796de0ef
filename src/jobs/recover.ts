import type { Deps } from '../deps.ts';
import { isDatabaseAway, messageOf } from '../errors.ts';
import type { Lease, StaleIntent } from '../store/store.ts';
import { createFileDrop } from '../submission/drop-file.ts';
import { recordBatch, rejectTaken } from '../submission/record-batch.ts';
import { type Found, findBatches } from './find-batches.ts';
import type { Counts, RunOptions } from './job.ts';
import { type ListLimits, listLimits } from './within-limits.ts';

/**
 * Intents without a batch id whose lease ran out: a worker died, or a create had no answer. Each is looked up by its key
 * in the provider's list. Found, it is adopted; not found and old enough for the list to know it, its chunks wait again.
 * Until then, and where the list could not be read, it is looked up once more later. Two workers at once share the
 * intents; a crash lets the leases run out.
 */
export async function runOnce(
  deps: Deps,
  options: RunOptions,
  limits: ListLimits = listLimits,
): Promise<Counts> {
  if (options.signal.aborted) return { recovered: 0, more: 0 };
  const lease = await deps.store.takeLease();
  try {
    const intents = await lease.claimStaleIntents(options.limit);
    if (intents.length === 0) return { recovered: 0, more: 0 };
    await deps.reached?.('intents_claimed');
    const found = await lookUp(deps, lease, intents, options.signal, limits);
    if (found === null) return { recovered: 0, more: 0 };
    const recovered = await settleAll(deps, lease, intents, found);
    return { recovered, more: intents.length === options.limit ? 1 : 0 };
  } finally {
    lease.hold.end();
  }
}

/** null where the list could not be read: nothing is known of any intent then, and each is let go. */
async function lookUp(
  deps: Deps,
  lease: Lease,
  intents: StaleIntent[],
  stop: AbortSignal,
  limits: ListLimits,
): Promise<Found | null> {
  const signal = AbortSignal.any([stop, lease.hold.signal]);
  try {
    return await findBatches(deps.provider, intents, signal, limits);
  } catch (error) {
    const problem = messageOf(error);
    deps.logger.warn({ err: error, intents: intents.length }, 'the provider could not list its batches');
    for (const intent of intents) await lease.letGoOfBatch(intent.batch_id, problem);
    // Cut short by the service's own end, or by the loss of the lease, it says nothing about the provider.
    if (signal.aborted) return null;
    for (const pipelineId of new Set(intents.map((intent) => intent.pipeline_id))) {
      await deps.store.notePipelineProblem(pipelineId, `a batch cannot be looked up: ${problem}`);
    }
    return null;
  }
}

async function settleAll(deps: Deps, lease: Lease, intents: StaleIntent[], found: Found): Promise<number> {
  const dropFile = createFileDrop(deps);
  let settled = 0;
  const healed = new Set<number>();
  const troubled = new Map<number, string>();
  for (const intent of intents) {
    const logger = deps.logger.child({ batch: intent.batch_id });
    try {
      const { isSettled, problem } = await settle({ ...deps, logger }, lease, intent, found, dropFile);
      if (isSettled) settled += 1;
      if (problem !== null) troubled.set(intent.pipeline_id, problem);
      else if (isSettled) healed.add(intent.pipeline_id);
    } catch (error) {
      // One that cannot be settled keeps no other from it.
      const what = 'an intent could not be settled; it is looked up again';
      if (isDatabaseAway(error)) logger.warn(`${what}: ${messageOf(error)}`);
      else logger.error({ err: error }, what);
      await lease.letGoOfBatch(intent.batch_id, messageOf(error));
    }
  }
  // One intent that is well again says nothing of another of the same pipeline.
  for (const id of healed) if (!troubled.has(id)) await deps.store.notePipelineProblem(id, null);
  for (const [id, problem] of troubled) await deps.store.notePipelineProblem(id, problem);
  return settled;
}

/** `problem` is what the intent's pipeline is to say. */
type Settled = { isSettled: boolean; problem: string | null };

async function settle(
  deps: Deps,
  lease: Lease,
  intent: StaleIntent,
  found: Found,
  dropFile: (fileId: string) => Promise<boolean>,
): Promise<Settled> {
  const { logger } = deps;
  const batches = found.batches.get(intent.key) ?? [];
  if (batches.length > 0) {
    await deps.reached?.('batch_found');
    const taken: string[] = [];
    for (const batch of batches) {
      const recorded = await recordBatch(deps, intent.batch_id, batch);
      if (recorded === 'ours') logger.info({ provider_batch: batch.id }, 'batch adopted');
      else if (recorded === 'taken') taken.push(batch.id);
    }
    const isTaken = taken.length === batches.length;
    return {
      isSettled: true,
      problem: isTaken ? await rejectTaken(lease, intent.batch_id, taken[0]!) : null,
    };
  }
  const unreadable = found.unreadable.get(intent.key);
  if (unreadable !== undefined) {
    // It exists and is paid for, so its work is not sent once more; it may be readable the next time.
    const problem = `the provider lists a batch that cannot be used: ${unreadable}`;
    logger.error({ problem }, 'an intent could not be settled; it is looked up again');
    await lease.letGoOfBatch(intent.batch_id, problem);
    return { isSettled: false, problem };
  }
  if (!intent.is_old) {
    await lease.letGoOfBatch(intent.batch_id, 'looked up at the provider, not found yet');
    return { isSettled: false, problem: null };
  }
  const why = 'the provider holds no batch of this key';
  const isSettled = await lease.abandonBatch(intent.batch_id, why, true, null);
  if (!isSettled) return { isSettled, problem: null };
  await deps.reached?.('intent_given_up');
  logger.info('the provider holds no such batch; its chunks wait again');
  // One that is left is swept up.
  if (intent.input_file_id !== null) await dropFile(intent.input_file_id);
  return { isSettled, problem: null };
}
