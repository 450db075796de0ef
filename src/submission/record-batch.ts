import type { Deps } from '../deps.ts';
import type { ProviderBatch } from '../provider/provider.ts';

/**
 * Records that the provider has a batch of this intent; resolves with whether its rows wait for it. Where they do not,
 * the batch is one too many: it is cancelled here or, once recorded as a stray, by the next poll.
 */
export async function recordBatch(
  deps: Pick<Deps, 'store' | 'provider' | 'logger' | 'metrics' | 'reached'>,
  batchId: number,
  batch: ProviderBatch,
): Promise<boolean> {
  const result = await deps.store.startBatch(batchId, batch.id, batch.status, batch.inputFileId);
  const logger = deps.logger.child({ batch: batchId, provider_batch: batch.id });
  switch (result) {
    case 'started':
      await deps.reached?.('batch_started');
      return true;
    case 'known':
      return true;
    case 'stray':
      deps.metrics.batches.inc({ result });
      await deps.reached?.('stray_recorded');
      logger.warn('the batch was created after its intent had been given up; it is cancelled');
      return false;
    case 'foreign':
      deps.metrics.batches.inc({ result });
      logger.error('the provider has two batches of one intent; the second is cancelled');
      // Whatever becomes of this says nothing about the first.
      await deps.provider.cancelBatch(batch.id).catch((error: unknown) => {
        logger.error({ err: error }, 'the second batch could not be cancelled: it runs, and is paid for');
      });
      return false;
  }
}
