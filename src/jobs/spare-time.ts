import type { Counts, RunOptions } from './job.ts';

/** A run that is quicker than this is as good as none. */
const shortMs = 2000;

/**
 * Takes a job's run; returns one that works half of the time at the most: after a run that took long, it does nothing for
 * as long as that. For what reads lists of the provider's, which may have no end. By the steady clock.
 */
export function inSpareTime(
  run: (options: RunOptions) => Promise<Counts>,
): (options: RunOptions) => Promise<Counts> {
  let restsUntil = Number.NEGATIVE_INFINITY;
  return async (options) => {
    const startedAt = performance.now();
    if (startedAt < restsUntil) return { more: 0 };
    try {
      return await run(options);
    } finally {
      const tookMs = performance.now() - startedAt;
      if (tookMs > shortMs) restsUntil = performance.now() + tookMs;
    }
  };
}
