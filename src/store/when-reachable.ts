import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isDatabaseAway, type RowmillError } from '../errors.ts';

const firstPauseMs = 500;
const longestPauseMs = 10_000;

/**
 * Calls until the database is there, and says at each try where it is looked for; null where the signal is aborted
 * before. Rejects at once with what waiting cannot mend: a wrong password, no such database, a failed migration.
 */
export async function whenReachable<Value>(
  call: () => Promise<Value>,
  { url, logger, signal }: { url: string; logger: Logger; signal: AbortSignal },
): Promise<Value | null> {
  for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    try {
      return await call();
    } catch (error) {
      if (!isDatabaseAway(error)) throw error;
      const { why } = (error as RowmillError).fields;
      logger.warn(
        `No Postgres answers at ${placeOf(url)} (${why}). Start it, or correct DATABASE_URL; trying again in ${pauseMs / 1000} s.`,
      );
    }
    await wait(pauseMs, undefined, { signal }).catch(() => {});
  }
  return null;
}

/** Host and port alone: the rest of the address is secret. */
function placeOf(url: string): string {
  if (!URL.canParse(url)) return 'DATABASE_URL';
  const { hostname, port } = new URL(url);
  return `${hostname}:${port || 5432}`;
}
