import pino from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Schedule, type ScheduledJob, startSchedule } from '../../src/jobs/schedule.ts';
import { createTimetable, type Occasions } from '../../src/jobs/timetable.ts';
import { createMetrics } from '../../src/metrics.ts';

const hourMs = 3_600_000;

describe('where the clock of the wall is set, and timers go on', () => {
  const schedules: Schedule[] = [];
  afterEach(async () => {
    for (const schedule of schedules.splice(0)) await schedule.stop();
    vi.useRealTimers();
  });

  /** Starts a job at that time of today; resolves with how often it has run. */
  function start(occasions: Occasions, time: string): () => number {
    vi.useFakeTimers({ toFake: ['Date'], shouldAdvanceTime: true, now: new Date(`2030-06-01T${time}`) });
    let runs = 0;
    const job: ScheduledJob = {
      ...{ ...occasions, name: 'a', limit: 1 },
      run: async () => {
        runs += 1;
        return { more: 0 };
      },
    };
    const deps = { logger: pino({ level: 'silent' }), metrics: createMetrics() };
    schedules.push(startSchedule([job], { ...deps, signal: new AbortController().signal }));
    return () => runs;
  }
  const runsBeyond = (runs: () => number, before: number) =>
    vi.waitFor(() => expect(runs()).toBeGreaterThan(before), { timeout: 10_000, interval: 20 });

  it.each([
    ['by its expression', { cron: '* * * * * *' }],
    ['every so often', { everyMs: 1000 }],
  ])('back by an hour, a job that is due %s goes on', async (_how, occasions) => {
    const runs = start(occasions, '12:00:00.500');
    await runsBeyond(runs, 0);
    vi.setSystemTime(Date.now() - hourMs);
    const before = runs();
    await runsBeyond(runs, before);
    await runsBeyond(runs, before + 1);
  });

  it('back, forward and back again, it does', async () => {
    const runs = start({ cron: '* * * * * *' }, '12:00:00.500');
    for (const offMs of [-hourMs, 24 * hourMs, -48 * hourMs]) {
      vi.setSystemTime(Date.now() + offMs);
      await runsBeyond(runs, runs());
    }
  });

  it('forward past the hour of a job, it runs at once, and else not before its hour', async () => {
    const runs = start({ cron: '0 3 * * *' }, '01:59:59.000');
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(runs()).toBe(0);
    vi.setSystemTime(new Date('2030-06-01T03:00:01'));
    await runsBeyond(runs, 0);
    expect(runs()).toBe(1);
  });
});

describe('the timetable of a job', () => {
  afterEach(() => {
    vi.useRealTimers();
  });
  const at = (time: string) => vi.useFakeTimers({ now: new Date(`2030-06-01T${time}`) });
  /** The wall's clock alone. */
  const turnBy = (ms: number) => vi.setSystemTime(Date.now() + ms);

  it('has the next match, and the one after it', () => {
    at('12:00:02.500');
    const timetable = createTimetable({ cron: '*/5 * * * * *' });
    expect(timetable.untilDueMs()).toBe(2500);
    vi.advanceTimersByTime(2499);
    expect(timetable.isDue()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(timetable.isDue()).toBe(true);
    timetable.advance();
    expect(timetable.isDue()).toBe(false);
    expect(timetable.untilDueMs()).toBe(5000);
  });

  it('follows the wall while that is slewed', () => {
    at('23:00:00');
    const timetable = createTimetable({ cron: '0 3 * * *' });
    // Four hours less 20 s, which is more than a clock is slewed by in that time.
    turnBy(-20_000);
    vi.advanceTimersByTime(4 * hourMs);
    expect(timetable.isDue()).toBe(false);
    vi.advanceTimersByTime(20_000);
    expect(timetable.isDue()).toBe(true);
    timetable.advance();
    expect(timetable.untilDueMs()).toBe(24 * hourMs);
  });

  it.each([-hourMs, -15_000])('does not wait for a wall that is set by %i ms', (offMs) => {
    at('12:00:00.500');
    const timetable = createTimetable({ cron: '*/5 * * * * *' });
    turnBy(offMs);
    vi.advanceTimersByTime(5000);
    expect(timetable.isDue()).toBe(true);
    timetable.advance();
    expect(timetable.untilDueMs()).toBeLessThanOrEqual(5000);
  });

  it('has the longest pause that is due as its period', () => {
    at('12:00:00.000');
    // A Saturday.
    expect(createTimetable({ cron: '0 3 * * 1-5' }).periodMs()).toBe(39 * hourMs);
    expect(createTimetable({ cron: '*/10 * * * * *' }).periodMs()).toBe(10_000);
    expect(createTimetable({ cron: '0 0 12 1,2 6 *' }).periodMs()).toBeGreaterThan(300 * 24 * hourMs);
    expect(createTimetable({ everyMs: 700 }).periodMs()).toBe(700);
  });
});
