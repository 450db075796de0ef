import { setTimeout as wait } from 'node:timers/promises';

const pauseMs = 1000;

/**
 * Has a few lanes claim one item after another and work on it, `limit` in all. A lane that finds nothing asks again for as
 * long as another lane is at work: one item that takes long keeps none waiting that comes meanwhile. Takes no new item
 * once the signal is aborted or a lane failed. Resolves with how many were taken; rejects with the first failure of a lane,
 * but only when what is in hand has ended.
 */
export async function takeTurns<Item>(options: {
  lanes: number;
  limit: number;
  signal: AbortSignal;
  claim: () => Promise<Item | null>;
  work: (item: Item) => Promise<void>;
}): Promise<number> {
  const { lanes, limit, signal, claim, work } = options;
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  let taken = 0;
  let atWork = 0;

  async function turn(): Promise<boolean> {
    atWork += 1;
    taken += 1;
    try {
      const item = await claim();
      if (item !== null) {
        await work(item);
        return true;
      }
      taken -= 1;
      return false;
    } finally {
      atWork -= 1;
      if (atWork === 0 && taken >= limit) over.abort();
    }
  }

  async function lane(): Promise<void> {
    while (!stop.aborted && taken < limit) {
      if (await turn()) continue;
      if (atWork === 0) return over.abort();
      await wait(pauseMs, undefined, { signal: stop }).catch(() => {});
    }
  }

  const ends = await Promise.allSettled(
    Array.from({ length: Math.min(lanes, limit) }, () =>
      lane().catch((error: unknown) => {
        over.abort();
        throw error;
      }),
    ),
  );
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return taken;
}
