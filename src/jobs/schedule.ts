import type { Logger } from 'pino';
import type { RowmillError } from '../errors.ts';
import type { Metrics } from '../metrics.ts';
import type { Counts, RunOptions } from './job.ts';
import { createOutage } from './outage.ts';
import { watchRuns } from './run-watch.ts';
import { createTimetable, type Occasions } from './timetable.ts';

export type ScheduledJob = Occasions & {
  name: string;
  limit: number;
  run: (options: RunOptions) => Promise<Counts>;
  /** Which jobs probably have work after a run with these counts. */
  wakes?: (counts: Counts) => string[];
};

export type Schedule = {
  /** Runs a job now, or once more after the run that is going on. */
  wake(name: string): void;
  /** What is wrong with jobs that do not run, or do not end; none once it is stopped. */
  problems(): string[];
  /** What keeps the database from working, as the jobs met it; null where nothing does. */
  outage(): RowmillError | null;
  /** No new runs; resolves when those that are going on have ended. */
  stop(): Promise<void>;
};

// The wall's clock may be set forward, and a timer has a longest time.
const longestPauseMs = 1000;

/**
 * Runs each job at its occasions and whenever another wakes it, never twice at the same time. A run that fails is logged
 * and tried again at the next occasion; while the database is away or takes no writes, that is said once.
 */
export function startSchedule(
  jobs: ScheduledJob[],
  deps: { logger: Logger; metrics: Metrics; signal: AbortSignal },
): Schedule {
  const running = new Map<string, Promise<void>>();
  const wanted = new Set<string>();
  const entries = jobs.map((job) => ({ job, timetable: createTimetable(job), runs: watchRuns(job.name) }));
  const byName = new Map(entries.map((entry) => [entry.job.name, entry]));
  const outage = createOutage(deps.logger);
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;

  async function runUntilIdle({ job, runs }: (typeof entries)[number]): Promise<void> {
    while (wanted.delete(job.name) && !isStopped) {
      const logger = deps.logger.child({ job: job.name });
      const stopTimer = deps.metrics.jobSeconds.startTimer({ job: job.name });
      runs.began();
      try {
        const counts = await job.run({ limit: job.limit, signal: deps.signal });
        stopTimer({ result: 'ok' });
        outage.worked(job.name);
        const { more, ...worked } = counts;
        if (Object.values(worked).some((count) => (count ?? 0) > 0))
          logger.debug(counts, `${job.name} worked`);
        if (more > 0) wanted.add(job.name);
        for (const name of job.wakes?.(counts) ?? []) wake(name);
      } catch (error) {
        stopTimer({ result: 'failed' });
        if (!outage.isMeantBy(error, job.name)) {
          logger.error({ err: error }, `${job.name} failed; it runs again`);
        }
      } finally {
        runs.ended();
      }
    }
  }

  function wake(name: string): void {
    const entry = byName.get(name);
    if (!entry || isStopped) return;
    wanted.add(name);
    if (running.has(name)) return;
    running.set(
      name,
      runUntilIdle(entry).finally(() => {
        running.delete(name);
        if (wanted.has(name)) wake(name);
      }),
    );
  }

  function look(): void {
    for (const { job, timetable } of entries) {
      if (!timetable.isDue()) continue;
      timetable.advance();
      wake(job.name);
    }
    wait();
  }

  function wait(): void {
    const untilDueMs = Math.min(longestPauseMs, ...entries.map(({ timetable }) => timetable.untilDueMs()));
    timer = setTimeout(look, Math.max(untilDueMs, 1));
  }

  wait();
  return {
    wake,
    problems: () =>
      isStopped
        ? []
        : entries
            .map(({ timetable, runs }) => runs.problem(timetable.periodMs()))
            .filter((problem) => problem !== null),
    outage: outage.current,
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await Promise.allSettled(running.values());
    },
  };
}
