import cron, { type ScheduledTask } from 'node-cron';
import type { Logger } from 'pino';
import { isDatabaseAway } from '../errors.ts';
import type { Metrics } from '../metrics.ts';
import type { Counts, RunOptions } from './job.ts';

export type ScheduledJob = {
  name: string;
  cron: string;
  limit: number;
  run: (options: RunOptions) => Promise<Counts>;
  /** Which jobs probably have work after a run with these counts. */
  wakes?: (counts: Counts) => string[];
};

export type Schedule = {
  /** Runs a job now, or once more after the run that is going on. */
  wake(name: string): void;
  /** No new runs; resolves when those that are going on have ended. */
  stop(): Promise<void>;
};

/**
 * Runs each job by its cron expression and whenever another wakes it, never twice at the same time. A run
 * that fails is logged and tried again at the next occasion; while the database is away, that is said once.
 */
export function startSchedule(
  jobs: ScheduledJob[],
  deps: { logger: Logger; metrics: Metrics; signal: AbortSignal },
): Schedule {
  const running = new Map<string, Promise<void>>();
  const wanted = new Set<string>();
  const byName = new Map(jobs.map((job) => [job.name, job]));
  let isStopped = false;
  // The job that found the database away; it says so, and when it is back.
  let finder: string | null = null;

  async function runUntilIdle(job: ScheduledJob): Promise<void> {
    while (wanted.delete(job.name) && !isStopped) {
      const logger = deps.logger.child({ job: job.name });
      const stopTimer = deps.metrics.jobSeconds.startTimer({ job: job.name });
      try {
        const counts = await job.run({ now: new Date(), limit: job.limit, signal: deps.signal });
        stopTimer({ result: 'ok' });
        if (finder === job.name) {
          finder = null;
          deps.logger.info('the database is back');
        }
        const { more, ...worked } = counts;
        if (Object.values(worked).some((count) => (count ?? 0) > 0))
          logger.debug(counts, `${job.name} worked`);
        if (more > 0) wanted.add(job.name);
        for (const name of job.wakes?.(counts) ?? []) wake(name);
      } catch (error) {
        stopTimer({ result: 'failed' });
        if (!isDatabaseAway(error)) logger.error({ err: error }, `${job.name} failed; it runs again`);
        else if (finder === null) {
          finder = job.name;
          deps.logger.warn(`${(error as Error).message}; every job is tried again until it is back`);
        }
      }
    }
  }

  function wake(name: string): void {
    const job = byName.get(name);
    if (!job || isStopped) return;
    wanted.add(name);
    if (running.has(name)) return;
    running.set(
      name,
      runUntilIdle(job).finally(() => {
        running.delete(name);
        if (wanted.has(name)) wake(name);
      }),
    );
  }

  const tasks: ScheduledTask[] = jobs.map((job) =>
    cron.schedule(job.cron, () => wake(job.name), { name: job.name }),
  );
  return {
    wake,
    async stop() {
      isStopped = true;
      await Promise.all(tasks.map((task) => task.destroy()));
      await Promise.allSettled(running.values());
    },
  };
}
