import { describe, expect, it } from 'vitest';
import { shareLanes } from '../../src/jobs/share-lanes.ts';

describe('working through items in lanes', () => {
  const signal = new AbortController().signal;
  const inLanes = (lanes: number) => ({ lanes, groupOf: () => 'one', signal });
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it('does each item once, and never more at a time than it may', async () => {
    const done: number[] = [];
    let running = 0;
    let most = 0;
    await shareLanes([1, 2, 3, 4, 5, 6, 7], {
      ...inLanes(3),
      work: async (item) => {
        running += 1;
        most = Math.max(most, running);
        await turn();
        running -= 1;
        done.push(item);
        return true;
      },
    });
    expect(done.sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(most).toBe(3);
  });

  it('resolves at once where there is nothing to do', async () => {
    await shareLanes([], { ...inLanes(3), work: async () => expect.unreachable() });
  });

  it('takes nothing new once the signal is aborted, and finishes what is in hand', async () => {
    const abort = new AbortController();
    const begun: number[] = [];
    const done: number[] = [];
    await shareLanes([1, 2, 3, 4], {
      ...inLanes(2),
      signal: abort.signal,
      work: async (item) => {
        begun.push(item);
        await turn();
        abort.abort();
        await turn();
        done.push(item);
        return true;
      },
    });
    expect(begun).toEqual([1, 2]);
    expect(done).toEqual([1, 2]);
  });

  it('rejects with the first failure only when all that is in hand has ended', async () => {
    const done: number[] = [];
    const work = shareLanes([1, 2, 3], {
      ...inLanes(2),
      work: async (item) => {
        if (item === 1) throw new Error('one');
        await turn();
        done.push(item);
        return true;
      },
    });
    await expect(work).rejects.toThrow('one');
    expect(done).toEqual([2]);
  });

  it('a group that is slow keeps its share of the lanes, and no other waits for it', async () => {
    const slow = Promise.withResolvers<void>();
    const done: string[] = [];
    const items = [...Array(50).fill('slow'), ...Array(20).fill('quick')];
    const work = shareLanes(items, {
      ...{ lanes: 4, groupOf: (item: string) => item, signal },
      work: async (item) => {
        if (item === 'slow') await slow.promise;
        done.push(item);
        return item === 'quick';
      },
    });
    while (done.length < 20) await turn();
    expect(done).toEqual(Array(20).fill('quick'));
    slow.resolve();
    await work;
    // The two in hand; the rest of the group is set aside.
    expect(done).toHaveLength(22);
  });

  it('takes what comes while only slow items are left, and nothing of what is set aside', async () => {
    const slow = Promise.withResolvers<void>();
    const done: string[] = [];
    let asked = 0;
    await shareLanes(['stuck', 'slow'], {
      ...{ lanes: 3, groupOf: (item: string) => item.split(' ')[0], signal },
      more: async () => {
        asked += 1;
        return asked === 1 ? ['late', 'stuck again'] : [];
      },
      work: async (item) => {
        if (item === 'slow') await slow.promise;
        if (item === 'late') slow.resolve();
        done.push(item);
        return item !== 'stuck';
      },
    });
    expect(done).toEqual(['stuck', 'late', 'slow']);
    expect(asked).toBe(1);
  });

  it('takes what comes as well where a slow group has more than its share in hand', async () => {
    const slow = Promise.withResolvers<void>();
    const done: string[] = [];
    await shareLanes(['slow', 'slow', 'slow', 'slow'], {
      ...{ lanes: 4, groupOf: (item: string) => item, signal },
      more: async () => (done.length === 0 ? ['late'] : []),
      work: async (item) => {
        if (item === 'slow') await slow.promise;
        else slow.resolve();
        done.push(item);
        return true;
      },
    });
    expect(done[0]).toBe('late');
    expect(done).toHaveLength(5);
  });

  it('rests after an item for as long as it is told', async () => {
    const startedAt = performance.now();
    const begunMs: number[] = [];
    await shareLanes([1, 2], {
      ...inLanes(1),
      restMs: () => 50,
      work: async () => {
        begunMs.push(performance.now() - startedAt);
        return true;
      },
    });
    expect(begunMs[1]! - begunMs[0]!).toBeGreaterThan(48);
  });

  it('ends with the last item, and asks for nothing where none is slow', async () => {
    const startedAt = performance.now();
    await shareLanes(['a', 'b'], {
      ...inLanes(5),
      more: async () => expect.unreachable(),
      work: async () => {
        await turn();
        return true;
      },
    });
    // Otherwise it would take the second after which it asks.
    expect(performance.now() - startedAt).toBeLessThan(900);
  });

  it('rejects where it cannot be told what came', async () => {
    const slow = Promise.withResolvers<void>();
    const work = shareLanes(['slow'], {
      ...inLanes(3),
      more: async () => {
        slow.resolve();
        throw new Error('no database');
      },
      work: async () => {
        await slow.promise;
        return true;
      },
    });
    await expect(work).rejects.toThrow('no database');
  });
});
