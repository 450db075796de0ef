import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isDatabaseAway, messageOf, RowmillError } from '../errors.ts';
import { tellMissing } from './migrate.ts';
import type { Transport } from './transport.ts';

const firstPauseMs = 500;
const longestPauseMs = 10_000;

/** What somebody can mend while a worker waits. A key that is refused is not among them: it stands in our own environment. */
const mendable = new Set(['schema_not_exposed', 'rights_missing', 'answer_cut']);

/**
 * Waits until a database that only others can migrate is reached and has all migrations, and says at each try what it
 * waits for; false where the signal is aborted before. Rejects at once with what waiting cannot mend.
 */
export async function whenCurrent(
  transport: Pick<Transport, 'missingMigrations'>,
  { place, logger, signal }: { place: string; logger: Logger; signal: AbortSignal },
): Promise<boolean> {
  // A call without an answer is not waited for to the end where the worker stops meanwhile.
  const stopped = new Promise<null>((resolve) =>
    signal.addEventListener('abort', () => resolve(null), { once: true }),
  );
  for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    const again = `Trying again in ${pauseMs / 1000} s.`;
    try {
      const missing = await Promise.race([transport.missingMigrations(), stopped]);
      if (missing === null) return false;
      if (missing.length === 0) return true;
      const stale = `If they are applied, the Data API has not seen it: run notify pgrst, 'reload schema'.`;
      logger.warn({ missing }, `${tellMissing(missing)} ${stale} ${again}`);
    } catch (error) {
      const isMendable = error instanceof RowmillError && mendable.has(error.code);
      if (!isMendable && !isDatabaseAway(error)) throw error;
      logger.warn({ code: error.code }, `${place}: ${messageOf(error)} ${again}`);
    }
    await wait(pauseMs, undefined, { signal }).catch(() => {});
  }
  return false;
}
