/**
 * Works through the items, a few at a time, and takes no new one once the signal is aborted. Rejects with the
 * first failure, but only when whatever else is in hand has ended: nothing goes on behind its caller's back.
 */
export async function inParallel<Item>(
  items: Item[],
  concurrency: number,
  signal: AbortSignal,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  const lane = async () => {
    for (const item of rest) {
      if (signal.aborted) return;
      await work(item);
    }
  };
  const lanes = Array.from({ length: Math.min(concurrency, items.length) }, lane);
  const ends = await Promise.allSettled(lanes);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}
