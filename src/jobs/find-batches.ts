import type { Provider, ProviderBatch } from '../provider/provider.ts';

/**
 * Looks for batches by our keys in the provider's whole list, whose order nobody promises; returns those found, by
 * key. Ends early only when each key has one. Rejects where the list could not be read to its end: what was not found
 * until then may exist.
 */
export async function findBatches(
  provider: Provider,
  keys: Set<string>,
  signal: AbortSignal,
): Promise<Map<string, ProviderBatch[]>> {
  const found = new Map<string, ProviderBatch[]>();
  for await (const page of provider.listBatches(signal)) {
    for (const batch of page) {
      const key = batch.metadata.rowmill_key;
      if (key === undefined || !keys.has(key)) continue;
      const others = found.get(key);
      if (!others) found.set(key, [batch]);
      // A list that grows while it is read shows the end of a page twice.
      else if (others.every((other) => other.id !== batch.id)) others.push(batch);
    }
    if (found.size === keys.size) break;
  }
  return found;
}
