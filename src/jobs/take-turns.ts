import { setTimeout as wait } from 'node:timers/promises';

const pauseMs = 1000;
// What else the job does begins with its next run, which must come.
const longestMs = 10 * 60_000;

export type Turns<Item> = {
  lanes: number;
  /** How many items are taken in all. */
  limit: number;
  /** How long a lane rests after an item that took so long; without it not at all. */
  restMs?: (tookMs: number) => number;
  /** From when on no new item is taken, 10 min without it. */
  maxMs?: number;
  signal: AbortSignal;
  claim: () => Promise<Item | null>;
  work: (item: Item) => Promise<void>;
};

/**
 * Has a few lanes claim one item after another and work on it. A lane that finds nothing asks again for as long as another
 * lane is at work: one item that takes long keeps none waiting that comes meanwhile. Takes no new item once the time is
 * over, the signal is aborted or a lane failed. Resolves with how many were taken; rejects with the first failure of a
 * lane, but only when what is in hand has ended.
 */
export async function takeTurns<Item>(turns: Turns<Item>): Promise<number> {
  const { lanes, limit, restMs = () => 0, maxMs = longestMs, signal, claim, work } = turns;
  const endsAt = performance.now() + maxMs;
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  let taken = 0;
  let atWork = 0;
  const pause = (ms: number) => wait(ms, undefined, { signal: stop }).catch(() => {});
  const isOver = () => stop.aborted || taken >= limit || performance.now() > endsAt;

  async function turn(): Promise<boolean> {
    atWork += 1;
    taken += 1;
    try {
      const item = await claim();
      if (item !== null) {
        const beganAt = performance.now();
        await work(item);
        const rest = restMs(performance.now() - beganAt);
        if (rest > 0 && !isOver()) await pause(rest);
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
    while (!isOver()) {
      if (await turn()) continue;
      if (atWork === 0) return over.abort();
      await pause(pauseMs);
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
