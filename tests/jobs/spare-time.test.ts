import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { inSpareTime } from '../../src/jobs/spare-time.ts';
import { options } from './job-world.ts';

describe('a job in its spare time', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  function jobThatTakes(ms: number, end: () => { more: number } = () => ({ more: 1 })) {
    let runs = 0;
    const run = inSpareTime(async () => {
      runs += 1;
      vi.advanceTimersByTime(ms);
      return end();
    });
    return { run: () => run(options()), runs: () => runs };
  }

  it.each([
    ['works', () => ({ more: 1 })],
    [
      'fails',
      () => {
        throw new Error('no list');
      },
    ],
  ])('rests as long as a long run that %s', async (_how, end) => {
    const job = jobThatTakes(10_000, end);
    await job.run().catch(() => {});
    vi.advanceTimersByTime(9999);
    expect(await job.run()).toEqual({ more: 0 });
    expect(job.runs()).toBe(1);
    vi.advanceTimersByTime(1);
    await job.run().catch(() => {});
    expect(job.runs()).toBe(2);
  });

  it('goes on at once after a short one', async () => {
    const job = jobThatTakes(2000);
    await job.run();
    expect(await job.run()).toEqual({ more: 1 });
    expect(job.runs()).toBe(2);
  });
});
