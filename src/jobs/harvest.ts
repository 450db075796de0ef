import type { Deps } from '../deps.ts';
import { isDatabaseAway, messageOf, ProviderError } from '../errors.ts';
import { verdictOf } from '../pipeline/error-classes.ts';
import { classOfCode } from '../pipeline/provider-codes.ts';
import type { EndedBatch, Lease, Verdict } from '../store/store.ts';
import { loadPipeline } from '../submission/compiled.ts';
import { harvestFile } from './harvest-file.ts';
import { harvestRefused } from './harvest-refused.ts';
import { inParallel } from './in-parallel.ts';
import type { Counts, RunOptions } from './job.ts';

const concurrency = 2;

/**
 * Reads the files of ended batches into their tables, then deletes them at the provider. A batch whose
 * harvest fails is tried again from the position that it reached; a crash leaves it to whoever finds its
 * lease run out. Nothing is applied twice: each slice commits with its position.
 */
export async function runOnce(deps: Deps, options: RunOptions): Promise<Counts> {
  if (options.signal.aborted) return { claimed: 0, harvested: 0, failed: 0, more: 0 };
  const lease = await deps.store.takeLease();
  try {
    return await harvestSome(deps, lease, options);
  } finally {
    lease.hold.end();
  }
}

async function harvestSome(deps: Deps, lease: Lease, options: RunOptions): Promise<Counts> {
  const batches = await lease.claimEndedBatches(options.limit);
  if (batches.length > 0) await deps.reached?.('harvest_claimed');
  // Once the lease is lost, another may be reading the same files.
  const signal = AbortSignal.any([options.signal, lease.hold.signal]);
  const untouched = new Set(batches.map((batch) => batch.batch_id));
  let harvested = 0;
  let failed = 0;
  try {
    await inParallel(batches, concurrency, signal, async (batch) => {
      untouched.delete(batch.batch_id);
      const logger = deps.logger.child({ batch: batch.batch_id });
      let isHarvested = batch.state === 'harvested';
      try {
        if (!isHarvested) {
          isHarvested = await harvest({ ...deps, logger }, lease, batch, signal);
          if (!isHarvested) return;
          harvested += 1;
        }
        await cleanUp(deps, lease, batch, signal);
      } catch (error) {
        failed += 1;
        const message = messageOf(error);
        const what = isHarvested ? 'cleaning up broke off' : 'the harvest broke off';
        if (isDatabaseAway(error)) logger.warn(`${what}; it is taken up again where it was: ${message}`);
        else logger.error({ err: error }, `${what}; it is taken up again where it was`);
        await lease.letGoOfBatch(batch.batch_id, message);
        // Files that are left, a database that is away, or the service's own end, say nothing about the pipeline.
        if (!isHarvested && !signal.aborted && !isDatabaseAway(error))
          await deps.store.notePipelineProblem(batch.pipeline_id, message);
      }
    });
  } finally {
    // The service stops, or the store failed: nobody need wait for these leases to run out.
    for (const batchId of untouched) await lease.letGoOfBatch(batchId, null);
  }
  return {
    claimed: batches.length,
    harvested,
    failed,
    more: batches.length === options.limit && failed === 0 ? 1 : 0,
  };
}

async function harvest(deps: Deps, lease: Lease, batch: EndedBatch, signal: AbortSignal): Promise<boolean> {
  const pipeline = await loadPipeline(deps, batch.pipeline_id, batch.pipeline_version);
  const gone: string[] = [];
  let refused = 0;
  if (pipeline) {
    const files = [
      { file: 'output' as const, id: batch.output_file_id, position: batch.output_position },
      { file: 'error' as const, id: batch.error_file_id, position: batch.error_position },
    ];
    for (const { file, id, position } of files) {
      if (id === null) continue;
      try {
        const result = { batchId: batch.batch_id, file, id, position };
        if (await harvestFile(deps, lease, pipeline, result, signal)) continue;
        deps.logger.warn('another worker took the batch over');
        return false;
      } catch (error) {
        if (!isGone(error) || !(await lease.noteGoneFile(batch.batch_id))) throw error;
        deps.logger.error({ file: id }, 'the provider has lost a result file; rows that it held are missing');
        gone.push(file);
      }
    }
    if (batch.provider_status === 'failed') {
      const named = await harvestRefused(deps, lease, batch, signal);
      if (named === null) return false;
      refused = named;
    }
  }
  await deps.reached?.('files_applied');
  const rest = refused > 0 ? innocent : verdictOnTheRest(batch, gone);
  const missing = await lease.finishHarvest(batch.batch_id, rest, foundNoRoom(batch));
  if (missing === null) return false;
  if (missing > 0) deps.metrics.rows.inc({ outcome: 'failed' }, missing);
  await deps.reached?.('harvest_finished');
  await deps.store.notePipelineProblem(batch.pipeline_id, null);
  deps.logger.info({ status: batch.provider_status, missing }, 'batch harvested');
  return true;
}

function isGone(error: unknown): boolean {
  return error instanceof ProviderError && error.status === 404;
}

type Ending = Pick<EndedBatch, 'provider_status' | 'provider_errors'>;

/** Rows of a batch that was refused for the sake of others. */
const innocent: Verdict = {
  ...verdictOf('batch_rejected', null, 'The provider refused the batch for other rows of it.'),
  ...{ counted: false, noted: false },
};

/** Whether the provider turned the batch away because the model's queue was full. */
function foundNoRoom({ provider_status: status, provider_errors: errors }: Ending): boolean {
  return status === 'failed' && errors?.[0]?.code === 'token_limit_exceeded';
}

/** What a row is that neither file mentions follows from how its batch ended. */
export function verdictOnTheRest(batch: Ending, goneFiles: string[] = []): Verdict {
  if (goneFiles.length > 0) {
    return verdictOf('missing', null, `The provider has lost the batch's ${goneFiles.join(' and ')} file.`);
  }
  switch (batch.provider_status) {
    case 'gone':
      return verdictOf('missing', null, 'The provider does not know the batch any more.');
    case 'expired':
      return verdictOf('batch_expired', null, 'The batch ran out of time before this request.');
    case 'cancelled':
      return verdictOf('batch_cancelled', null, 'The batch was cancelled before this request.');
    case 'failed': {
      const [error] = batch.provider_errors ?? [];
      const code = error?.code ?? null;
      const message = `The provider refused the batch: ${error?.message ?? 'it gave no reason'}`;
      // The same work is sent again when there is room, and no row hears of it.
      if (foundNoRoom(batch))
        return { ...verdictOf('rate_limited', code, message), counted: false, noted: false };
      const isQuota = classOfCode(code) === 'quota_exhausted';
      return verdictOf(isQuota ? 'quota_exhausted' : 'batch_rejected', code, message);
    }
    default:
      return verdictOf('missing', null, 'Neither the output nor the error file has a line for this row.');
  }
}

async function cleanUp(deps: Deps, lease: Lease, batch: EndedBatch, signal: AbortSignal): Promise<void> {
  if (!batch.keep_files) {
    for (const id of [batch.input_file_id, batch.output_file_id, batch.error_file_id]) {
      if (id === null) continue;
      lease.hold.assertHeld();
      await deps.provider.deleteFile(id, signal);
      await deps.reached?.('file_deleted');
    }
  }
  await deps.reached?.('files_deleted');
  await lease.finishBatch(batch.batch_id);
}
