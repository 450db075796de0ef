import type { Deps } from '../deps.ts';
import { messageOf, ProviderError } from '../errors.ts';
import type { Provider, ProviderBatch } from '../provider/provider.ts';
import { sqlStateOf } from '../store/sql-error.ts';
import type { DuePoll } from '../store/store.ts';
import type { Counts, RunOptions } from './job.ts';
import { lanesAgain } from './lanes-again.ts';
import { shareLanes } from './share-lanes.ts';

const terminal = new Set(['completed', 'failed', 'expired', 'cancelled']);
const lanes = 12;
// A page that shows none of those that are due is little use, and so are three.
const uselessPages = 3;
// From here on, pages of the provider's list answer for a hundred batches each.
const togetherFrom = 20;
const listRestMs = 60_000;
const recordedAtOnce = 500;
// Whom a run wakes is told at its end.
const longestMs = 30_000;
const highestCount = 2_147_483_647;

export type PollOptions = RunOptions & {
  /** false: batches that give no trouble; true: the others; without it: all. */
  again?: boolean;
  /** How long one look may take, 10 s without it, and 30 s again. */
  lookMs?: number;
};

/**
 * Looks at the running batches that are due, many of them together in the provider's list, and at what is due meanwhile
 * where some are slow. A look that fails, or takes too long, changes nothing: the batch is due again later. Two workers at
 * once look at different batches.
 */
export async function runOnce(deps: Deps, options: PollOptions): Promise<Counts> {
  const { signal, again = null, lookMs = again ? 30_000 : 10_000 } = options;
  if (signal.aborted) return { polled: 0, ended: 0, failed: 0, more: 0 };
  const beganAt = performance.now();
  let polled = 0;
  let isFull = false;
  let ended = 0;
  let failed = 0;

  const note = async (poll: DuePoll, error: unknown) => {
    failed += 1;
    // Cut short by the service's own end, it says nothing about the provider.
    if (signal.aborted) return;
    const logger = deps.logger.child({ batch: poll.batch_id, provider_batch: poll.provider_batch_id });
    logger.warn({ err: error }, 'a look at the batch failed; it is looked at again');
    const isGone = error instanceof ProviderError && error.status === 404;
    if (await deps.store.notePollProblem(poll.batch_id, messageOf(error), isGone)) {
      logger.error('the provider has lost the batch; its rows are tried again');
      ended += 1;
    }
  };
  const record = async (seen: [DuePoll, ProviderBatch][]) => {
    if (seen.length > 0) await deps.reached?.('poll_answered');
    for (let from = 0; from < seen.length; from += recordedAtOnce) {
      const some = seen.slice(from, from + recordedAtOnce);
      // Not `ended += await …`, which reads the sum before the wait: several lanes add to it.
      const moved = await recordInHalves(deps, some, note);
      ended += moved;
    }
    if (seen.length > 0) await deps.reached?.('poll_recorded');
  };

  /** Those that are due and that the list does not answer for: it did not show them, or they are to be cancelled. */
  const claim = async (): Promise<DuePoll[]> => {
    const due = await deps.store.claimDuePolls(options.limit, togetherFrom, again);
    if (due.length > 0) await deps.reached?.('polls_claimed');
    polled += due.length;
    isFull = due.length === options.limit;
    const byId = new Map(due.map((poll) => [poll.provider_batch_id, poll]));
    if (due.length >= togetherFrom && !isListResting(deps.provider)) {
      await lookTogether(deps, byId, record, within(signal, lookMs));
    }
    return [...byId.values()];
  };
  // One by one. A pipeline of which one took too long waits.
  await shareLanes(await claim(), {
    ...(again ? lanesAgain : { lanes }),
    groupOf: (poll) => poll.pipeline_id,
    signal,
    more: async () => (performance.now() - beganAt < longestMs ? await claim() : []),
    work: async (poll) => {
      const inTime = within(signal, lookMs);
      try {
        await record([[poll, await look(deps, poll, inTime)]]);
      } catch (error) {
        await note(poll, error);
      }
      return !inTime.aborted;
    },
  });
  return { polled, ended, failed, more: isFull ? 1 : 0 };
}

/** By provider: until when its list is not read here, by the steady clock. */
const restsUntil = new WeakMap<Provider, number>();

function isListResting(provider: Provider): boolean {
  return performance.now() < (restsUntil.get(provider) ?? 0);
}

/**
 * Pages through the list, takes out of `wanted` what it finds there and records it, for as long as that may cost fewer
 * calls than to ask one by one. A list that cannot be read in time, or shows others alone, leaves the rest to that; one
 * that cannot be read is not tried again for a minute.
 */
async function lookTogether(
  deps: Deps,
  wanted: Map<string, DuePoll>,
  record: (seen: [DuePoll, ProviderBatch][]) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const found: [DuePoll, ProviderBatch][] = [];
  let pages = 0;
  let useless = 0;
  try {
    for await (const page of deps.provider.listBatches(signal)) {
      pages += 1;
      const before = wanted.size;
      for (const batch of page.batches) {
        const poll = wanted.get(batch.id);
        if (!poll || (poll.cancel_asked && !isBeyondCancel(batch))) continue;
        wanted.delete(batch.id);
        found.push([poll, batch]);
      }
      useless = wanted.size < before ? 0 : useless + 1;
      if (pages >= wanted.size || useless === uselessPages || signal.aborted) break;
      if (found.length < recordedAtOnce) continue;
      await record(found.splice(0));
    }
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    restsUntil.set(deps.provider, performance.now() + listRestMs);
    deps.logger.warn(
      { err: error },
      'the provider could not list its batches; they are looked at one by one',
    );
  }
  await record(found);
}

async function look(deps: Deps, poll: DuePoll, signal: AbortSignal): Promise<ProviderBatch> {
  const batch = await deps.provider.retrieveBatch(poll.provider_batch_id, signal);
  if (!poll.cancel_asked || isBeyondCancel(batch)) return batch;
  return await deps.provider.cancelBatch(poll.provider_batch_id, signal);
}

function within(signal: AbortSignal, ms: number): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(ms)]);
}

function isBeyondCancel(batch: ProviderBatch): boolean {
  return terminal.has(batch.status) || batch.status === 'cancelling';
}

/** Halves what the database does not take, so that one batch keeps no other from being recorded. */
async function recordInHalves(
  deps: Deps,
  seen: [DuePoll, ProviderBatch][],
  note: (poll: DuePoll, error: unknown) => Promise<void>,
): Promise<number> {
  try {
    return await recordSome(deps, seen);
  } catch (error) {
    if (sqlStateOf(error) === null) throw error;
    if (seen.length === 1) {
      await note(seen[0]![0], error);
      return 0;
    }
    const half = Math.floor(seen.length / 2);
    const first = await recordInHalves(deps, seen.slice(0, half), note);
    return first + (await recordInHalves(deps, seen.slice(half), note));
  }
}

async function recordSome(deps: Deps, seen: [DuePoll, ProviderBatch][]): Promise<number> {
  const states = await deps.store.recordPolls(
    seen.map(([poll, batch]) => ({
      batch_id: poll.batch_id,
      provider_status: batch.status,
      is_terminal: terminal.has(batch.status),
      output_file_id: batch.outputFileId,
      error_file_id: batch.errorFileId,
      requests_completed: Math.min(batch.counts.completed, highestCount),
      requests_failed: Math.min(batch.counts.failed, highestCount),
      provider_errors: batch.errors.length > 0 ? batch.errors : null,
      input_tokens: batch.usage?.inputTokens ?? null,
      cached_tokens: batch.usage?.cachedTokens ?? null,
      output_tokens: batch.usage?.outputTokens ?? null,
    })),
  );
  const moved = new Set(states.filter(({ state }) => state !== 'running').map(({ batch_id }) => batch_id));
  for (const [poll, { id, status, counts }] of seen) {
    if (!moved.has(poll.batch_id)) continue;
    deps.logger.info({ batch: poll.batch_id, provider_batch: id, status, counts }, 'batch ended');
  }
  return moved.size;
}
