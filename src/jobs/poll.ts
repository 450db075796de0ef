import type { Deps } from '../deps.ts';
import { messageOf } from '../errors.ts';
import type { ProviderBatch } from '../provider/provider.ts';
import type { DuePoll } from '../store/store.ts';
import { inParallel } from './in-parallel.ts';
import type { Counts, RunOptions } from './job.ts';

const terminal = new Set(['completed', 'failed', 'expired', 'cancelled']);
const concurrency = 6;

/**
 * Looks at the running batches that are due. A look that fails changes nothing: the batch is due again
 * later. Two workers at once look at different batches.
 */
export async function runOnce(deps: Deps, options: RunOptions): Promise<Counts> {
  if (options.signal.aborted) return { polled: 0, ended: 0, failed: 0, more: 0 };
  const due = await deps.store.claimDuePolls(options.limit);
  let ended = 0;
  let failed = 0;
  await inParallel(due, concurrency, options.signal, async (poll) => {
    const logger = deps.logger.child({ batch: poll.batch_id, provider_batch: poll.provider_batch_id });
    try {
      const batch = await look(deps, poll, options.signal);
      const isTerminal = terminal.has(batch.status);
      const state = await deps.store.recordPoll({
        batch_id: poll.batch_id,
        provider_status: batch.status,
        is_terminal: isTerminal,
        output_file_id: batch.outputFileId,
        error_file_id: batch.errorFileId,
        requests_completed: batch.counts.completed,
        requests_failed: batch.counts.failed,
        provider_errors: batch.errors.length > 0 ? batch.errors : null,
      });
      if (isTerminal && state !== null) {
        ended += 1;
        logger.info({ status: batch.status, counts: batch.counts }, 'batch ended');
      }
    } catch (error) {
      failed += 1;
      // Cut short by the service's own end, it says nothing about the provider.
      if (options.signal.aborted) return;
      logger.warn({ err: error }, 'a look at the batch failed; it is looked at again');
      await deps.store.notePollProblem(poll.batch_id, messageOf(error));
    }
  });
  return { polled: due.length, ended, failed, more: due.length === options.limit ? 1 : 0 };
}

async function look(deps: Deps, poll: DuePoll, signal: AbortSignal): Promise<ProviderBatch> {
  const batch = await deps.provider.retrieveBatch(poll.provider_batch_id, signal);
  if (!poll.cancel_asked || terminal.has(batch.status) || batch.status === 'cancelling') return batch;
  return await deps.provider.cancelBatch(poll.provider_batch_id, signal);
}
