import { beforeEach, describe, expect, it } from 'vitest';
import { findBatches } from '../../src/jobs/find-batches.ts';
import { FakeProvider, providerError } from '../support/fake-provider.ts';

describe('the search for batches by their keys', () => {
  const { signal } = new AbortController();
  let provider: FakeProvider;
  beforeEach(() => {
    provider = new FakeProvider();
  });

  async function create(...keys: (string | null)[]): Promise<void> {
    for (const key of keys) {
      await provider.createBatch({ inputFileId: 'f', metadata: key === null ? {} : { rowmill_key: key } });
    }
  }
  async function find(...keys: string[]): Promise<Record<string, string[]>> {
    const wanted = keys.map((key) => ({ key, age_seconds: 60 }));
    const found = await findBatches(provider, wanted, signal);
    return Object.fromEntries([...found.batches].map(([key, batches]) => [key, batches.map(({ id }) => id)]));
  }

  it('finds those that are asked for, in whatever page, and no other', async () => {
    provider.pageSize = 2;
    await create('a', null, 'b', 'somebody else\u2019s', 'c', null);
    expect(await find('a', 'c', 'missing')).toEqual({ a: ['batch_1'], c: ['batch_5'] });
  });

  it('finds each batch of a key', async () => {
    await create('a', 'b', 'a');
    expect(await find('a')).toEqual({ a: ['batch_3', 'batch_1'] });
  });

  it('takes a batch that the list shows twice for one', async () => {
    await create('a', 'b');
    const all = provider.listBatches.bind(provider);
    provider.listBatches = async function* () {
      for await (const page of all()) yield* [page, page];
    };
    expect(await find('a', 'missing')).toEqual({ a: ['batch_1'] });
  });

  it('reads the list to its end as long as one is missing, whatever its order', async () => {
    provider.pageSize = 1;
    await create('a', 'b', 'c', 'd');
    await find('d', 'missing');
    expect(provider.called('listBatches')).toHaveLength(4);
  });

  it('ends once each key has one', async () => {
    provider.pageSize = 1;
    await create('a', 'b', 'c', 'd');
    await find('d', 'c');
    expect(provider.called('listBatches')).toHaveLength(2);
  });

  it('rejects where the list breaks off: what was not found until then may exist', async () => {
    provider.pageSize = 1;
    await create('a', 'b', 'c');
    provider.before.listBatches = () => {
      if (provider.called('listBatches').length === 3) throw providerError('ambiguous', { status: 502 });
    };
    await expect(find('c', 'a')).rejects.toThrow('ambiguous');
  });

  it('tells which keys stand in an entry that cannot be read', async () => {
    await create('a');
    provider.unreadable = [
      { key: 'b', problem: 'no id' },
      { key: 'of another', problem: 'no id' },
      { key: null, problem: 'nothing' },
    ];
    const wanted = ['a', 'b', 'missing'].map((key) => ({ key, age_seconds: 60 }));
    const { batches, unreadable } = await findBatches(provider, wanted, signal);
    expect([...batches.keys()]).toEqual(['a']);
    expect([...unreadable]).toEqual([['b', 'no id']]);
  });

  describe('in a long list', () => {
    const hourMs = 3_600_000;
    /** One batch an hour back from now; the newest is the first. */
    async function createHourly(count: number): Promise<void> {
      for (let hours = count - 1; hours >= 0; hours -= 1) {
        await create(null);
        const batch = [...provider.batches.values()].at(-1)!;
        batch.createdAt = new Date(Date.now() - hours * hourMs);
      }
      provider.calls.length = 0;
    }
    const pages = () => provider.called('listBatches').length;

    it('reads no further than a day beyond the oldest intent', async () => {
      await createHourly(100);
      provider.pageSize = 5;
      const wanted = [
        { key: 'x', age_seconds: 60 },
        { key: 'y', age_seconds: 10.5 * 3600 },
      ];
      await findBatches(provider, wanted, signal);
      // 34 hours, and the page on which that is seen.
      expect(pages()).toBe(8);
    });

    it('reads on where it does not go from new to old', async () => {
      await createHourly(100);
      [...provider.batches.values()][90]!.createdAt = new Date();
      provider.pageSize = 5;
      await find('missing');
      expect(pages()).toBe(20);
    });

    it('reads on where it goes from old to new', async () => {
      await create('last', ...Array(60).fill(null));
      for (const [at, batch] of [...provider.batches.values()].entries()) {
        batch.createdAt = new Date(Date.now() - at * hourMs);
      }
      provider.pageSize = 1;
      expect(await find('last')).toEqual({ last: ['batch_1'] });
    });

    it('does not take a few old ones for an order', async () => {
      await create('a');
      await createHourly(200);
      const batches = [...provider.batches.values()].reverse();
      for (const [at, batch] of batches.entries()) {
        batch.createdAt = new Date(Date.now() - (at < 19 ? 100 + at : 1) * hourMs);
      }
      provider.pageSize = 3;
      expect(await find('a')).toEqual({ a: ['batch_1'] });
    });
  });
});
