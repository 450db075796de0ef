import { describe, expect, it } from 'vitest';
import { takeTurns } from '../../src/jobs/take-turns.ts';

describe('taking turns', () => {
  const signal = new AbortController().signal;

  it('claims until nothing is left, and says how many there were', async () => {
    const items = [1, 2, 3, 4, 5];
    const done: number[] = [];
    const taken = await takeTurns<number>({
      ...{ lanes: 2, limit: 10, signal },
      claim: async () => items.shift() ?? null,
      work: async (item) => {
        done.push(item);
      },
    });
    expect(taken).toBe(5);
    expect(done).toEqual([1, 2, 3, 4, 5]);
  });

  it('takes no more than its limit', async () => {
    let claimed = 0;
    const claim = async () => ++claimed;
    expect(await takeTurns({ lanes: 3, limit: 4, signal, claim, work: async () => {} })).toBe(4);
    expect(claimed).toBe(4);
  });

  it('works on what comes while one item takes long', async () => {
    const items = ['slow'];
    const slow = Promise.withResolvers<void>();
    const done: string[] = [];
    await takeTurns<string>({
      ...{ lanes: 2, limit: 10, signal },
      claim: async () => items.shift() ?? null,
      work: async (item) => {
        if (item === 'slow') {
          items.push('late');
          await slow.promise;
        } else slow.resolve();
        done.push(item);
      },
    });
    expect(done).toEqual(['late', 'slow']);
  });

  it('rejects with the failure of a lane once what is in hand has ended', async () => {
    let claimed = 0;
    const done: number[] = [];
    const work = takeTurns<number>({
      ...{ lanes: 2, limit: 10, signal },
      claim: async () => ++claimed,
      work: async (item) => {
        if (item === 1) throw new Error('one');
        await new Promise((resolve) => setImmediate(resolve));
        done.push(item);
      },
    });
    await expect(work).rejects.toThrow('one');
    expect(done).toEqual([2]);
  });

  it('rests after an item for as long as it is told, and nobody ends the run meanwhile', async () => {
    const items = ['a', 'b'];
    const events: string[] = [];
    const work = takeTurns<string>({
      ...{ lanes: 2, limit: 10, signal },
      restMs: () => 60,
      claim: async () => items.shift() ?? null,
      work: async (item) => {
        events.push(item);
        // What comes while both lanes rest is theirs as well.
        if (item === 'b') setTimeout(() => items.push('c'), 20);
      },
    });
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(events).toEqual(['a', 'b']);
    expect(await work).toBe(3);
    expect(events).toEqual(['a', 'b', 'c']);
  });

  it('takes nothing more once its time is over', async () => {
    let claimed = 0;
    const taken = await takeTurns<number>({
      ...{ lanes: 1, limit: 1000, maxMs: 30, signal },
      claim: async () => ++claimed,
      work: () => new Promise((resolve) => setTimeout(resolve, 40)),
    });
    expect(taken).toBe(1);
  });
});
