import type { Logger } from 'pino';
import { isDatabaseAway, type RowmillError } from '../errors.ts';

export type Outage = {
  /** Whether that was an outage of the database: it is said here then, once. */
  isMeantBy(error: unknown, job: string): boolean;
  /** A run of that job succeeded. */
  worked(job: string): void;
  /** null while the database does what it is asked, as far as the jobs know. */
  current(): RowmillError | null;
};

/**
 * What the jobs know of a database that is away, or takes no writes. The job that finds it so says it, and that it is
 * over: a run of another one may have begun before.
 */
export function createOutage(logger: Logger): Outage {
  let known: { job: string; error: RowmillError } | null = null;
  return {
    isMeantBy(error, job) {
      if (!isDatabaseAway(error)) return false;
      if (known?.error.code === error.code) return true;
      known = { job, error };
      logger.warn({ code: error.code }, `${error.message}; every job is tried again until it is back`);
      return true;
    },
    worked(job) {
      if (known?.job !== job) return;
      const { code } = known.error;
      known = null;
      logger.info(
        code === 'database_unreachable' ? 'the database is back' : 'the database takes writes again',
      );
    },
    current: () => known?.error ?? null,
  };
}
