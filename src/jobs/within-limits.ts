import { RowmillError } from '../errors.ts';

export type ListLimits = { maxPages: number; maxMs: number };

/** Two hundred thousand batches: far more than are created in the day that a search goes back. */
export const listLimits: ListLimits = { maxPages: 2000, maxMs: 300_000 };

/**
 * The pages of a list, until there are too many or they took too long: a provider may say each time that there are more.
 * Rejects then, since what was not found so far may stand on a page that was not read.
 */
export async function* withinLimits<Page>(
  pages: AsyncIterable<Page>,
  { maxPages, maxMs }: ListLimits,
): AsyncGenerator<Page> {
  const beganAt = performance.now();
  let count = 0;
  for await (const page of pages) {
    count += 1;
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
