import { verdictOf } from '../pipeline/error-classes.ts';
import { classOfCode } from '../pipeline/provider-codes.ts';
import type { EndedBatch, Verdict } from '../store/store.ts';

type Ending = Pick<EndedBatch, 'provider_status' | 'provider_errors'>;

/** Rows of a batch that was refused for the sake of others. */
export const innocent: Verdict = {
  ...verdictOf('batch_rejected', null, 'The provider refused the batch for other rows of it.'),
  ...{ counted: false, noted: false },
};

/** Whether the provider turned the batch away because the model's queue was full. */
export function foundNoRoom({ provider_status: status, provider_errors: errors }: Ending): boolean {
  return status === 'failed' && errors?.[0]?.code === 'token_limit_exceeded';
}

/** What a row is that neither file mentions follows from how its batch ended, and from files that could not be read (why). */
export function verdictOnTheRest(batch: Ending, unread: string[] = []): Verdict {
  if (unread.length > 0) return verdictOf('missing', null, unread.join(' '));
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
