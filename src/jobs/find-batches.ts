import type { BatchPage, Provider, ProviderBatch } from '../provider/provider.ts';
import { type ListLimits, listLimits, withinLimits } from './within-limits.ts';

/** An intent: its key, and how long ago it was written by the database's clock. */
export type Wanted = { key: string; age_seconds: number };

export type Found = {
  batches: Map<string, ProviderBatch[]>;
  /** By key, what is wrong with an entry of the list that cannot be read: such a batch exists. */
  unreadable: Map<string, string>;
};

// For clocks that differ: ours, the database's and the provider's.
const marginSeconds = 86_400;
// A list in no order at all shows so many in this one by a chance of 1 to 10^18.
const convincing = 20;
const mostOfKey = 10;

/**
 * Looks for batches by our keys in the provider's list; returns those found, by key. Ends early when each key has one,
 * and, where the list has shown that it goes from new to old, at batches a day older than the oldest intent: none of ours
 * stands behind them. Rejects where the list could not be read to that end: what was not found until then may exist.
 */
export async function findBatches(
  provider: Provider,
  wanted: Wanted[],
  signal: AbortSignal,
  limits: ListLimits = listLimits,
): Promise<Found> {
  const keys = new Set(wanted.map(({ key }) => key));
  const oldest = Math.max(...wanted.map((intent) => intent.age_seconds));
  const isBehind = createOrder(Date.now() - (oldest + marginSeconds) * 1000);
  const found: Found = { batches: new Map(), unreadable: new Map() };
  for await (const page of withinLimits(provider.listBatches(signal), limits, signal)) {
    take(page, keys, found);
    if (found.batches.size === keys.size || isBehind(page.batches)) break;
  }
  return found;
}

function take({ batches, unreadable }: BatchPage, keys: Set<string>, found: Found): void {
  for (const { key, problem } of unreadable) {
    if (key !== null && keys.has(key)) found.unreadable.set(key, problem);
  }
  for (const batch of batches) {
    const key = batch.metadata.rowmill_key;
    if (key === undefined || !keys.has(key)) continue;
    const others = found.batches.get(key);
    if (!others) found.batches.set(key, [batch]);
    // A list that grows while it is read shows the end of a page twice. Some of a key are kept: the list may repeat it without end.
    else if (others.length < mostOfKey && others.every((other) => other.id !== batch.id)) others.push(batch);
  }
}

/** Takes page after page; returns whether all that follows is older than `sinceMs`, going by the order so far. */
function createOrder(sinceMs: number): (batches: ProviderBatch[]) => boolean {
  let lastMs = Number.POSITIVE_INFINITY;
  let descents = 0;
  let isDescending = true;
  return (batches) => {
    for (const { createdAt } of batches) {
      const ms = createdAt.getTime();
      if (ms > lastMs) isDescending = false;
      if (ms < lastMs) descents += 1;
      lastMs = ms;
    }
    return isDescending && descents >= convincing && lastMs < sinceMs;
  };
}
