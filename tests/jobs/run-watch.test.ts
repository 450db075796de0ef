import pino from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Counts } from '../../src/jobs/job.ts';
import { type Schedule, type ScheduledJob, startSchedule } from '../../src/jobs/schedule.ts';
import { createMetrics } from '../../src/metrics.ts';

const minuteMs = 60_000;

describe('the schedule says what is wrong', () => {
  let schedule: Schedule;
  let end = (): void => {};
  afterEach(async () => {
    vi.useRealTimers();
    end();
    await schedule.stop();
  });
  function start(...jobs: Pick<ScheduledJob, 'name' | 'run'>[]) {
    const deps = { logger: pino({ level: 'silent' }), metrics: createMetrics() };
    schedule = startSchedule(
      jobs.map((job) => ({ ...job, limit: 1, everyMs: 1000 })),
      { ...deps, signal: new AbortController().signal },
    );
  }
  const quick = async (): Promise<Counts> => ({ more: 0 });

  it('with jobs that did not run for three of their periods, and not before', () => {
    // Timers are real and do not come: this is one turn.
    vi.useFakeTimers({ toFake: ['performance'] });
    start({ name: 'a', run: quick }, { name: 'b', run: quick });
    vi.advanceTimersByTime(3000);
    expect(schedule.problems()).toEqual([]);
    vi.advanceTimersByTime(1000);
    expect(schedule.problems()).toEqual(['a has not run for 4 s', 'b has not run for 4 s']);
    schedule.wake('a');
    expect(schedule.problems()).toEqual(['b has not run for 4 s']);
  });

  it('with a run that does not end, and not with one that fails', async () => {
    vi.useFakeTimers();
    const slow = () =>
      new Promise<Counts>((resolve) => {
        end = () => resolve({ more: 0 });
      });
    start({ name: 'slow', run: slow }, { name: 'broken', run: () => Promise.reject(new Error('broken')) });
    await vi.advanceTimersByTimeAsync(29 * minuteMs);
    expect(schedule.problems()).toEqual([]);
    await vi.advanceTimersByTimeAsync(2 * minuteMs);
    expect(schedule.problems()).toEqual(['slow has been running for 31 minutes']);
    end();
    await vi.advanceTimersByTimeAsync(1);
    expect(schedule.problems()).toEqual([]);
  });

  it('and nothing once it is stopped', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    start({ name: 'a', run: quick });
    vi.advanceTimersByTime(60 * minuteMs);
    expect(schedule.problems()).toHaveLength(1);
    await schedule.stop();
    expect(schedule.problems()).toEqual([]);
  });
});
