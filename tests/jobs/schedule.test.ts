import pino from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { RowmillError } from '../../src/errors.ts';
import type { Counts, RunOptions } from '../../src/jobs/job.ts';
import { type Schedule, type ScheduledJob, startSchedule } from '../../src/jobs/schedule.ts';
import { createMetrics } from '../../src/metrics.ts';

/** A job whose every run ends when the test says so. */
function manualJob(name: string, rest: Partial<ScheduledJob> = {}) {
  const runs: {
    options: RunOptions;
    finish: (counts?: Partial<Counts>) => void;
    fail: (error: Error) => void;
  }[] = [];
  let running = 0;
  let most = 0;
  const job: ScheduledJob = {
    name,
    // New Year's night: in a test it runs only when it is woken.
    cron: '0 0 1 1 *',
    limit: 7,
    run: (options) => {
      running += 1;
      most = Math.max(most, running);
      return new Promise<Counts>((resolve, reject) => {
        runs.push({
          options,
          finish: (counts = {}) => resolve({ more: 0, ...counts } as Counts),
          fail: reject,
        });
      }).finally(() => {
        running -= 1;
      });
    },
    ...rest,
  };
  return { job, runs, most: () => most };
}

describe('the schedule', () => {
  const schedules: Schedule[] = [];
  const abort = new AbortController();
  const start = (...jobs: ScheduledJob[]) => {
    const metrics = createMetrics();
    const schedule = startSchedule(jobs, {
      logger: pino({ level: 'silent' }),
      metrics,
      signal: abort.signal,
    });
    schedules.push(schedule);
    return { schedule, metrics };
  };
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  afterEach(async () => {
    vi.useRealTimers();
    for (const schedule of schedules.splice(0)) await schedule.stop();
  });

  it('runs a job that is woken, with its limit and the signal', async () => {
    const { job, runs } = manualJob('a');
    start(job).schedule.wake('a');
    expect(runs).toHaveLength(1);
    expect(runs[0]!.options).toEqual({ limit: 7, signal: abort.signal });
    runs[0]!.finish();
  });

  it('runs a job whenever its cron expression says so', async () => {
    vi.useFakeTimers({ now: new Date('2030-01-01T12:00:00.500Z') });
    let runs = 0;
    const run = async () => {
      runs += 1;
      return { more: 0 };
    };
    const { schedule } = start({ name: 'a', cron: '*/5 * * * * *', limit: 1, run });
    expect(runs).toBe(0);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(runs).toBe(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(runs).toBe(3);
    await schedule.stop();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(runs).toBe(3);
  });

  it('never runs a job twice at the same time; wakes during a run make one more run', async () => {
    const { job, runs, most } = manualJob('a');
    const { schedule } = start(job);
    for (let times = 0; times < 5; times += 1) schedule.wake('a');
    await turn();
    expect(runs).toHaveLength(1);
    runs[0]!.finish();
    await turn();
    expect(runs).toHaveLength(2);
    runs[1]!.finish();
    await turn();
    expect(runs).toHaveLength(2);
    expect(most()).toBe(1);
  });

  it('runs different jobs at the same time', () => {
    const [a, b] = [manualJob('a'), manualJob('b')];
    const { schedule } = start(a.job, b.job);
    schedule.wake('a');
    schedule.wake('b');
    expect([a.runs.length, b.runs.length]).toEqual([1, 1]);
    a.runs[0]!.finish();
    b.runs[0]!.finish();
  });

  it('runs a job again at once where there is more', async () => {
    const { job, runs } = manualJob('a');
    start(job).schedule.wake('a');
    runs[0]!.finish({ more: 1 });
    await turn();
    expect(runs).toHaveLength(2);
    runs[1]!.finish();
    await turn();
    expect(runs).toHaveLength(2);
  });

  it('wakes the jobs that have work after a run, and no others', async () => {
    const [b, c] = [manualJob('b'), manualJob('c')];
    const a = manualJob('a', { wakes: (counts) => (counts.found ? ['b', 'nobody'] : []) });
    const { schedule } = start(a.job, b.job, c.job);
    schedule.wake('a');
    a.runs[0]!.finish();
    await turn();
    expect(b.runs).toHaveLength(0);
    schedule.wake('a');
    a.runs[1]!.finish({ found: 1 });
    await turn();
    expect([b.runs.length, c.runs.length]).toEqual([1, 0]);
    b.runs[0]!.finish();
  });

  it('goes on after a run that fails', async () => {
    const { job, runs } = manualJob('a');
    const { schedule, metrics } = start(job);
    schedule.wake('a');
    schedule.wake('a');
    runs[0]!.fail(new Error('broken'));
    await turn();
    // The wake that came meanwhile is not lost with it.
    expect(runs).toHaveLength(2);
    runs[1]!.fail(new Error('broken again'));
    await turn();
    schedule.wake('a');
    expect(runs).toHaveLength(3);
    runs[2]!.finish();
    await turn();
    const { values } = await metrics.jobSeconds.get();
    const count = (result: string) =>
      values.find(
        (value) => value.metricName === 'rowmill_job_seconds_count' && value.labels.result === result,
      )?.value;
    expect([count('failed'), count('ok')]).toEqual([2, 1]);
  });

  it('goes on after a run that throws before its first step', async () => {
    let runs = 0;
    const job: ScheduledJob = {
      ...manualJob('a').job,
      run: () => {
        runs += 1;
        throw new Error('at once');
      },
    };
    const { schedule } = start(job);
    schedule.wake('a');
    await turn();
    schedule.wake('a');
    await turn();
    expect(runs).toBe(2);
  });

  describe('while the database is away', () => {
    const away = () => new RowmillError('database_unreachable', 'The database is out of reach: ECONNREFUSED');
    type Line = { level: number; msg: string };
    function startNoting(...jobs: ScheduledJob[]) {
      const lines: Line[] = [];
      const logger = pino(
        { level: 'info' },
        { write: (text: string) => lines.push(JSON.parse(text) as Line) },
      );
      const schedule = startSchedule(jobs, { logger, metrics: createMetrics(), signal: abort.signal });
      schedules.push(schedule);
      return { schedule, said: () => lines.map(({ level, msg }) => `${pino.levels.labels[level]}: ${msg}`) };
    }
    const isAway = expect.stringMatching(/^warn: The database is out of reach: ECONNREFUSED; every job/);

    it('says so once, however many jobs find it so, and once that it is back', async () => {
      const [a, b] = [manualJob('a'), manualJob('b')];
      const { schedule, said } = startNoting(a.job, b.job);
      for (let times = 0; times < 3; times += 1) {
        for (const { job, runs } of [a, b]) {
          schedule.wake(job.name);
          runs.at(-1)!.fail(away());
          await turn();
        }
      }
      expect(said()).toEqual([isAway]);
      for (const { job, runs } of [a, b, a]) {
        schedule.wake(job.name);
        runs.at(-1)!.finish();
        await turn();
      }
      expect(said()).toEqual([isAway, 'info: the database is back']);
      schedule.wake('b');
      b.runs.at(-1)!.fail(away());
      await turn();
      expect(said()).toEqual([isAway, 'info: the database is back', isAway]);
    });

    it('is not back before the job that found it away has worked again', async () => {
      const [a, b] = [manualJob('a'), manualJob('b')];
      const { schedule, said } = startNoting(a.job, b.job);
      schedule.wake('a');
      schedule.wake('b');
      a.runs[0]!.fail(away());
      await turn();
      // A run that had begun before may still succeed.
      b.runs[0]!.finish();
      await turn();
      expect(said()).toEqual([isAway]);
    });

    it.each([
      ['database_read_only', 'cannot execute UPDATE in a read-only transaction'],
      ['database_full', 'could not extend file'],
    ])('says so once as well where it takes no writes (%s), and what it is', async (code, why) => {
      const [a, b] = [manualJob('a'), manualJob('b')];
      const { schedule, said } = startNoting(a.job, b.job);
      const refusal = () => new RowmillError(code, `The database takes no writes: ${why}`);
      expect(schedule.outage()).toBeNull();
      for (const { job, runs } of [a, b, a, b]) {
        schedule.wake(job.name);
        runs.at(-1)!.fail(refusal());
        await turn();
      }
      const line = `warn: The database takes no writes: ${why}; every job is tried again until it is back`;
      expect(said()).toEqual([line]);
      expect(schedule.outage()).toMatchObject({ code });
      schedule.wake('b');
      b.runs.at(-1)!.fail(away());
      await turn();
      expect(said()).toEqual([line, isAway]);
      schedule.wake('b');
      b.runs.at(-1)!.fail(refusal());
      await turn();
      schedule.wake('b');
      b.runs.at(-1)!.finish();
      await turn();
      expect(said()).toEqual([line, isAway, line, 'info: the database takes writes again']);
      expect(schedule.outage()).toBeNull();
    });

    it('goes on saying what else is wrong, with its stack', async () => {
      const [a, b] = [manualJob('a'), manualJob('b')];
      const { schedule, said } = startNoting(a.job, b.job);
      schedule.wake('a');
      schedule.wake('b');
      a.runs[0]!.fail(away());
      b.runs[0]!.fail(new Error('a bug'));
      await turn();
      expect(said()).toEqual([isAway, 'error: b failed; it runs again']);
    });
  });

  it('waits for the run in hand when it stops, and begins no other', async () => {
    const { job, runs } = manualJob('a');
    const { schedule } = start(job);
    schedule.wake('a');
    schedule.wake('a');
    let isStopped = false;
    const stopping = schedule.stop().then(() => {
      isStopped = true;
    });
    await turn();
    await turn();
    expect(isStopped).toBe(false);
    runs[0]!.finish({ more: 1 });
    await stopping;
    schedule.wake('a');
    await turn();
    expect(runs).toHaveLength(1);
  });

  it('stops where the run in hand fails', async () => {
    const { job, runs } = manualJob('a');
    const { schedule } = start(job);
    schedule.wake('a');
    const stopping = schedule.stop();
    runs[0]!.fail(new Error('broken'));
    await stopping;
  });
});
