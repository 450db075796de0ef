import { describe, expect, it } from 'vitest';
import { inParallel } from '../../src/jobs/in-parallel.ts';

describe('working through items in parallel', () => {
  const signal = new AbortController().signal;
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it('does each item once, and never more at a time than it may', async () => {
    const done: number[] = [];
    let running = 0;
    let most = 0;
    await inParallel([1, 2, 3, 4, 5, 6, 7], 3, signal, async (item) => {
      running += 1;
      most = Math.max(most, running);
      await turn();
      running -= 1;
      done.push(item);
    });
    expect(done.sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(most).toBe(3);
  });

  it('resolves at once where there is nothing to do', async () => {
    await inParallel([], 3, signal, async () => expect.unreachable());
  });

  it('takes nothing new once the signal is aborted, and finishes what is in hand', async () => {
    const abort = new AbortController();
    const begun: number[] = [];
    const done: number[] = [];
    await inParallel([1, 2, 3, 4], 2, abort.signal, async (item) => {
      begun.push(item);
      await turn();
      abort.abort();
      await turn();
      done.push(item);
    });
    expect(begun).toEqual([1, 2]);
    expect(done).toEqual([1, 2]);
  });

  it('rejects with the first failure only when all that is in hand has ended', async () => {
    const done: number[] = [];
    const work = inParallel([1, 2, 3], 2, signal, async (item) => {
      if (item === 1) throw new Error('one');
      await turn();
      done.push(item);
    });
    await expect(work).rejects.toThrow('one');
    expect(done).toEqual([2, 3]);
  });
});
