import type { Deps } from '../deps.ts';
import { verdictOf } from '../pipeline/error-classes.ts';
import type { ProviderBatch } from '../provider/provider.ts';
import type { Lease } from '../store/store.ts';

/**
 * `ours`: the intent's rows wait for this batch. `surplus`: they do not; it is one too many, and cancelled. `taken`: it is
 * the batch of another intent.
 */
export type Recorded = 'ours' | 'surplus' | 'taken';

/**
 * Records that the provider has a batch of this intent; resolves with whose it is. One too many is cancelled here or,
 * once recorded as a stray, by the next poll.
 */
export async function recordBatch(
  deps: Pick<Deps, 'store' | 'provider' | 'logger' | 'metrics' | 'reached'>,
  batchId: number,
  batch: ProviderBatch,
): Promise<Recorded> {
  const result = await deps.store.startBatch(batchId, batch.id, batch.status, batch.inputFileId);
  const logger = deps.logger.child({ batch: batchId, provider_batch: batch.id });
  switch (result) {
    case 'started':
      await deps.reached?.('batch_started');
      return 'ours';
    case 'known':
      return 'ours';
    case 'taken':
      deps.metrics.batches.inc({ result });
      logger.error(
        'the provider gives a batch of another intent this intent\u2019s name; nothing is recorded',
      );
      return 'taken';
    case 'stray':
      deps.metrics.batches.inc({ result });
      await deps.reached?.('stray_recorded');
      logger.warn('the batch was created after its intent had been given up; it is cancelled');
      return 'surplus';
    case 'foreign':
      deps.metrics.batches.inc({ result });
      logger.error('the provider has two batches of one intent; the second is cancelled');
      // Whatever becomes of this says nothing about the first.
      await deps.provider.cancelBatch(batch.id).catch((error: unknown) => {
        logger.error({ err: error }, 'the second batch could not be cancelled: it runs, and is paid for');
      });
      return 'surplus';
  }
}

/**
 * Ends an intent whose only batch is another's. The provider said which batch it is, so a look at its list could name no
 * other: the rows fail and go round again, and each time counts as an attempt, so that a provider, or a cache before it,
 * that does this every time is not asked without end. The batch is not cancelled, since the other intent's rows wait for
 * it; whatever else may turn up under this intent's key is swept up.
 * Resolves with what its pipeline is to say; null where another worker has the intent.
 */
export async function rejectTaken(
  lease: Lease,
  batchId: number,
  providerBatchId: string,
): Promise<string | null> {
  const message = `The provider says that the batch is ${providerBatchId}, which is the batch of another request.`;
  const verdict = verdictOf('batch_rejected', 'batch_id_taken', message);
  return (await lease.rejectBatch(batchId, verdict, true)) === null ? null : message;
}
