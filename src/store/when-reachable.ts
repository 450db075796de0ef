import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isDatabaseAway, isDatabaseUnreachable } from '../errors.ts';

const firstPauseMs = 500;
const longestPauseMs = 10_000;

/**
 * Calls until the database is there and takes writes; null where the signal is aborted before. Says at each try where it is
 * looked for, and once that it takes no writes. Rejects at once with what waiting cannot mend: a wrong password, no such
 * database, a failed migration.
 */
export async function whenReachable<Value>(
  call: () => Promise<Value>,
  { url, logger, signal }: { url: string; logger: Logger; signal: AbortSignal },
): Promise<Value | null> {
  let said: string | null = null;
  for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    try {
      return await call();
    } catch (error) {
      if (!isDatabaseAway(error)) throw error;
      if (isDatabaseUnreachable(error)) {
        logger.warn(
          `No Postgres answers at ${placeOf(url)} (${error.fields.why}). Start it, or correct DATABASE_URL; trying again in ${pauseMs / 1000} s.`,
        );
      } else if (error.code !== said) {
        const again = `trying again, every ${longestPauseMs / 1000} s at the least`;
        logger.warn(`${placeOf(url)}: ${error.message}. npm run doctor says what to do; ${again}.`);
      }
      said = error.code;
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
