import { setTimeout as wait } from 'node:timers/promises';
import { RowmillError } from '../errors.ts';

export type ListLimits = {
  maxPages: number;
  maxMs: number;
  /** So many pages come as fast as they may, and one in `pageMs` after them. */
  quickPages: number;
  pageMs: number;
};

/**
 * OpenAI has 2,000 batches created in an hour at the most, and a search goes back a day and the intent's age: that are
 * 100,000 in two days. A page takes OpenAI longer than a twentieth of a second; where they come faster, a list without an
 * end would keep the worker from its other work.
 */
export const listLimits: ListLimits = { maxPages: 1000, maxMs: 300_000, quickPages: 20, pageMs: 50 };

/**
 * The pages of a list, until there are too many or they took too long: a provider may say each time that there are more.
 * Rejects then, since what was not found so far may stand on a page that was not read.
 */
export async function* withinLimits<Page>(
  pages: AsyncIterable<Page>,
  { maxPages, maxMs, quickPages, pageMs }: ListLimits,
  signal: AbortSignal,
): AsyncGenerator<Page> {
  const beganAt = performance.now();
  let count = 0;
  let lastAt = beganAt;
  for await (const page of pages) {
    count += 1;
    const earlyMs = lastAt + pageMs - performance.now();
    if (count > quickPages && earlyMs > 0) await wait(earlyMs, undefined, { signal });
    lastAt = performance.now();
    const tookMs = Math.round(performance.now() - beganAt);
    if (count > maxPages || tookMs > maxMs) {
      throw new RowmillError(
        'list_endless',
        `The provider's list did not end within ${maxPages} pages and ${maxMs / 1000} s.`,
        { fields: { pages: count, tookMs } },
      );
    }
    yield page;
  }
}
