import type { Deps } from '../deps.ts';
import { isDatabaseAway, messageOf, ProviderError } from '../errors.ts';
import type { EndedBatch, Lease } from '../store/store.ts';
import { type Compiled, loadPipeline } from '../submission/compiled.ts';
import { foundNoRoom, innocent, verdictOnTheRest } from './harvest-endings.ts';
import { harvestFile, type Seen } from './harvest-file.ts';
import { harvestRefused } from './harvest-refused.ts';
import type { Counts, RunOptions } from './job.ts';
import { lanesAgain } from './lanes-again.ts';
import { takeTurns } from './take-turns.ts';
import { Turn, type TurnLimits } from './turn.ts';
import { givenUpFor } from './unreadable.ts';

// A file is mostly waited for: at the provider, then in the database.
const lanes = 3;

export type HarvestOptions = RunOptions & {
  /** false: batches that give no trouble; true: the others; without it: all. */
  again?: boolean;
  turn?: Partial<TurnLimits>;
};

/**
 * Reads the files of ended batches into their tables, then deletes them at the provider. A batch whose harvest fails is
 * tried again, later each time, from the position that it reached; a crash leaves it to the worker that finds its lease run
 * out. Nothing is applied twice: each slice commits with its position. A batch that takes long takes one lane alone, and
 * only for a turn.
 */
export async function runOnce(deps: Deps, options: HarvestOptions): Promise<Counts> {
  const { limit, again = null, signal } = options;
  const counts = { harvested: 0, failed: 0 };
  const claimed = await takeTurns<Claimed>({
    ...(again ? lanesAgain : { lanes }),
    ...{ limit, signal },
    claim: () => claim(deps, again),
    work: async ({ lease, batch }) => {
      try {
        const logger = deps.logger.child({ batch: batch.batch_id });
        const turn = new Turn({ isHurried: again === false, ...options.turn });
        const ends = await takeOn({ ...deps, logger }, lease, batch, turn, signal);
        for (const end of ends) counts[end] += 1;
      } finally {
        lease.hold.end();
      }
    },
  });
  return { claimed, ...counts, more: claimed === limit && counts.failed === 0 ? 1 : 0 };
}

type Claimed = { lease: Lease; batch: EndedBatch };

async function claim(deps: Deps, again: boolean | null): Promise<Claimed | null> {
  const lease = await deps.store.takeLease();
  let batch: EndedBatch | undefined;
  try {
    [batch] = await lease.claimEndedBatches(1, again);
    if (!batch) return null;
    await deps.reached?.('harvest_claimed');
    return { lease, batch };
  } finally {
    if (!batch) lease.hold.end();
  }
}

/**
 * Harvests a batch and cleans up after it, or lets go of it with what went wrong; resolves with what to count. Rejects only
 * where that cannot be noted.
 */
async function takeOn(
  deps: Deps,
  lease: Lease,
  batch: EndedBatch,
  turn: Turn,
  stopped: AbortSignal,
): Promise<('harvested' | 'failed')[]> {
  const { logger } = deps;
  // Once the lease is lost, another may be reading the same files.
  const signal = AbortSignal.any([stopped, lease.hold.signal]);
  const ends: ('harvested' | 'failed')[] = [];
  try {
    if (batch.state === 'ended') {
      if (!(await harvest(deps, lease, batch, turn, signal))) return ends;
      ends.push('harvested');
    }
    await cleanUp(deps, lease, batch, signal);
  } catch (error) {
    const isHarvested = batch.state === 'harvested' || ends.length > 0;
    ends.push('failed');
    const message = messageOf(error);
    const what = isHarvested ? 'cleaning up broke off' : 'the harvest broke off';
    if (isDatabaseAway(error)) logger.warn(`${what}; it is taken up again where it was: ${message}`);
    else logger.error({ err: error }, `${what}; it is taken up again where it was`);
    // The service's own end, or the database's, is no try.
    const isOurs = signal.aborted || isDatabaseAway(error);
    await lease.letGoOfBatch(batch.batch_id, isOurs ? null : message);
    // Files that are left say nothing about the pipeline.
    if (!isHarvested && !isOurs) await deps.store.notePipelineProblem(batch.pipeline_id, message);
  }
  return ends;
}

async function harvest(
  deps: Deps,
  lease: Lease,
  batch: EndedBatch,
  turn: Turn,
  signal: AbortSignal,
): Promise<boolean> {
  const pipeline = await loadPipeline(deps, batch.pipeline_id, batch.pipeline_version);
  let unread: string[] = [];
  let refused = 0;
  if (pipeline) {
    const read = await readFiles(deps, lease, pipeline, batch, turn, signal);
    if (read === null) return false;
    unread = read;
    if (batch.provider_status === 'failed') {
      const named = await harvestRefused(deps, lease, batch, turn, signal);
      if (named === null) return false;
      refused = named;
    }
  }
  await deps.reached?.('files_applied');
  const rest = refused > 0 ? innocent : verdictOnTheRest(batch, unread);
  const missing = await lease.finishHarvest(batch.batch_id, rest, foundNoRoom(batch));
  if (missing === null) return false;
  if (missing > 0) deps.metrics.rows.inc({ outcome: 'failed' }, missing);
  await deps.reached?.('harvest_finished');
  await deps.store.notePipelineProblem(batch.pipeline_id, unread.length > 0 ? unread.join(' ') : null);
  deps.logger.info({ status: batch.provider_status, missing }, 'batch harvested');
  return true;
}

/** Reads both files; resolves with why one was not read to its end, or null where the batch is for another run. */
async function readFiles(
  deps: Deps,
  lease: Lease,
  pipeline: Compiled,
  batch: EndedBatch,
  turn: Turn,
  signal: AbortSignal,
): Promise<string[] | null> {
  const files = [
    { file: 'output' as const, id: batch.output_file_id, position: batch.output_position },
    { file: 'error' as const, id: batch.error_file_id, position: batch.error_position },
  ];
  const seen: Seen = { written: batch.rows_enriched, strangeLines: batch.strange_lines };
  const unread: string[] = [];
  for (const { file, id, position } of files) {
    if (id === null) continue;
    try {
      const end = await harvestFile(deps, lease, pipeline, { batch, file, id, position }, seen, turn, signal);
      if (end === 'read') continue;
      if (end === 'lost') deps.logger.warn('another worker took the batch over');
      else await lease.letGoOfBatch(batch.batch_id, null);
      return null;
    } catch (error) {
      const reason = await givenUp(lease, batch, file, error);
      if (reason === null) throw error;
      deps.logger.error({ err: error, file: id }, 'a result file is given up; rows that it held are missing');
      unread.push(reason);
    }
  }
  return unread;
}

/** Why a file is not read again; null where it is. */
async function givenUp(
  lease: Lease,
  batch: EndedBatch,
  file: string,
  error: unknown,
): Promise<string | null> {
  if (error instanceof ProviderError && error.status === 404) {
    if (!(await lease.noteGoneFile(batch.batch_id))) return null;
    return `The provider has lost the batch's ${file} file.`;
  }
  const reason = givenUpFor(error, batch.tries);
  return reason === null ? null : `The batch's ${file} file cannot be read: ${reason}`;
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
