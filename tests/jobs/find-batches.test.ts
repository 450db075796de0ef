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
    const found = await findBatches(provider, new Set(keys), signal);
    return Object.fromEntries([...found].map(([key, batches]) => [key, batches.map(({ id }) => id)]));
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
});
