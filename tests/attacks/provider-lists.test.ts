import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findBatches } from '../../src/jobs/find-batches.ts';
import * as recover from '../../src/jobs/recover.ts';
import * as submit from '../../src/jobs/submit.ts';
import * as sweep from '../../src/jobs/sweep.ts';
import { withinLimits } from '../../src/jobs/within-limits.ts';
import type { ProviderBatch } from '../../src/provider/provider.ts';
import {
  age,
  batches,
  batchStates,
  failures,
  type JobWorld,
  options,
  passTime,
  queue,
  startJobWorld,
  status,
} from '../jobs/job-world.ts';
import { makeWireBatch, sendJson } from '../provider/fake-server.ts';
import { against, collect, failureOf } from '../provider/provider-under-test.ts';
import { providerError } from '../support/fake-provider.ts';

const limits = { maxPages: 30, maxMs: 60_000, quickPages: 30, pageMs: 0 };

describe('a list of batches', () => {
  const key = (rowmill_key: unknown) => ({ metadata: { rowmill_key, more: { toString: 1, valueOf: 1 } } });

  it('with one batch whose metadata is no text is read all the same', async () => {
    const data = [
      makeWireBatch({ id: 'batch_1', ...key({ toString: 1 }) }),
      makeWireBatch({ id: 'batch_2', ...key('ours') }),
      makeWireBatch({ id: 'x'.repeat(6000), ...key('lost') }),
    ];
    const { provider } = await against((_request, response) => sendJson(response, { data, has_more: false }));
    const [page] = await collect(provider.listBatches());
    expect(page!.batches.map(({ id, metadata }) => [id, metadata])).toEqual([
      ['batch_1', {}],
      ['batch_2', { rowmill_key: 'ours' }],
    ]);
    expect(page!.unreadable).toMatchObject([{ key: 'lost' }]);
  });

  it('goes on behind the last entry whose id can be read, and ends as an error where there is none', async () => {
    const first = [makeWireBatch({ id: 'batch_1' }), makeWireBatch({ id: {} }), null];
    const { provider, seen } = await against(({ query }, response) =>
      sendJson(response, { data: query.has('after') ? [null, 5, {}] : first, has_more: true }),
    );
    expect(await failureOf(collect(provider.listBatches()))).toMatchObject({ kind: 'ambiguous' });
    expect(seen.map(({ query }) => query.get('after'))).toEqual([null, 'batch_1']);
  });

  it.each([
    ['has new batches on every page', (page: number) => `batch_${page}`],
    ['repeats two pages in turn', (page: number) => `batch_${page % 2}`],
  ])('that %s is given up, and nothing concluded', async (_what, idOf) => {
    let page = 0;
    const { provider, seen } = await against((_request, response) => {
      page += 1;
      sendJson(response, { data: [makeWireBatch({ id: idOf(page) })], has_more: true });
    });
    const search = findBatches(
      provider,
      [{ key: 'k', age_seconds: 60 }],
      new AbortController().signal,
      limits,
    );
    await expect(search).rejects.toMatchObject({ code: 'list_endless' });
    expect(seen).toHaveLength(limits.maxPages + 1);
  });

  it('that takes too long is given up', async () => {
    let page = 0;
    const { provider } = await against((_request, response) => {
      page += 1;
      setTimeout(() => sendJson(response, { data: [makeWireBatch({ id: `b${page}` })], has_more: true }), 30);
    });
    const slow = { ...limits, maxPages: 1e9, maxMs: 200 };
    const search = findBatches(provider, [{ key: 'k', age_seconds: 60 }], new AbortController().signal, slow);
    await expect(search).rejects.toMatchObject({ code: 'list_endless' });
  });

  it('is read at leisure after its first pages, so that one without an end leaves the worker to others', async () => {
    const cameAt: number[] = [];
    const pages = async function* () {
      for (;;) yield cameAt.push(performance.now());
    };
    const pace = { maxPages: 5, maxMs: 60_000, quickPages: 3, pageMs: 50 };
    const read = collect(withinLimits(pages(), pace, new AbortController().signal));
    await expect(read).rejects.toMatchObject({ code: 'list_endless' });
    const pauses = cameAt.slice(1).map((at, n) => at - cameAt[n]!);
    // The pages before come in the same moment, however slow that is; timers ring a millisecond early.
    expect(pauses.slice(3).every((ms) => ms >= 48)).toBe(true);
    expect(pauses).toHaveLength(5);
  });

  it('that has a key on every entry is not kept whole', async () => {
    const batch = { metadata: { rowmill_key: 'k' }, createdAt: new Date() } as unknown as ProviderBatch;
    const listBatches = async function* () {
      for (let page = 0; page < 20; page += 1) {
        const ids = Array.from({ length: 100 }, (_, at) => `batch_${page}_${at}`);
        yield { batches: ids.map((id) => ({ ...batch, id })), unreadable: [] };
      }
    };
    const wanted = ['k', 'missing'].map((key) => ({ key, age_seconds: 60 }));
    const { batches } = await findBatches({ listBatches } as never, wanted, new AbortController().signal);
    expect(batches.get('k')).toHaveLength(10);
  });
});

describe('a stale intent', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5 } });
    await queue(world, 1, 5);
  });
  afterEach(() => world.stop());

  const look = (worker = world.worker) => recover.runOnce(worker, options(), limits);
  /** A create without an answer, which was executed or not, long enough ago. */
  async function lose(when: 'before' | 'after'): Promise<void> {
    world.fake[when].createBatch = () => {
      delete world.fake[when].createBatch;
      throw providerError('ambiguous');
    };
    await submit.runOnce(world.worker, options());
    await age(world, '1 hour');
    await passTime(world, '20 seconds');
  }
  function listWithoutEnd(): () => void {
    const { listBatches } = world.fake;
    let count = 0;
    world.fake.listBatches = async function* () {
      const [batch] = world.fake.batches.values();
      for (;;) {
        count += 1;
        yield { batches: batch ? [{ ...batch, id: `batch_x${count}`, metadata: {} }] : [], unreadable: [] };
      }
    };
    return () => {
      world.fake.listBatches = listBatches;
    };
  }

  it('is neither adopted nor given up by an endless list, and its pipeline says so until it is over', async () => {
    await lose('before');
    const end = listWithoutEnd();
    expect(await look()).toEqual({ recovered: 0, more: 0 });
    expect(await batches(world)).toMatchObject([
      { state: 'preparing', owner: null, problem: expect.stringContaining('did not end') },
    ]);
    expect((await status(world)).problem).toContain('did not end within 30 pages');
    end();
    await passTime(world, '20 seconds');
    expect(await look()).toMatchObject({ recovered: 1 });
    expect((await status(world)).problem).toBeNull();
  });

  it('keeps no chunk from being sent', async () => {
    await lose('before');
    listWithoutEnd();
    await queue(world, 6, 10);
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 1 });
  });

  it('whose batch cannot be read is not sent once more, and keeps no other from being settled', async () => {
    await lose('before');
    const [{ key }] = (await batches(world)) as unknown as [{ key: string }];
    await queue(world, 6, 10);
    await lose('after');
    world.fake.unreadable = [{ key, problem: 'it has no id' }];
    expect(await look()).toMatchObject({ recovered: 1 });
    expect(await batches(world)).toMatchObject([
      { state: 'preparing', owner: null, problem: expect.stringContaining('it has no id') },
      { state: 'running' },
    ]);
    expect((await status(world)).problem).toContain('it has no id');
    expect(world.fake.called('createBatch')).toHaveLength(2);
  });

  describe('for which the provider names the batch of another', () => {
    /** A first batch, which runs; every create after it is answered with its id. */
    async function answerWithTheFirst(): Promise<void> {
      await submit.runOnce(world.worker, options());
      const create = world.fake.createBatch.bind(world.fake);
      world.fake.createBatch = async (input) => ({ ...(await create(input)), id: 'batch_1' });
      await queue(world, 6, 10);
    }

    it('by its answer to the create ends as refused; the other batch runs on', async () => {
      await answerWithTheFirst();
      expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 1, submitted: 0 });
      expect(await batchStates(world)).toEqual(['running', 'rejected']);
      expect(world.fake.called('cancelBatch')).toEqual([]);
      expect((await status(world)).problem).toContain('batch_1');
      // An attempt of each row: it does not go round without end.
      expect(await failures(world)).toMatchObject(
        Array(5).fill({ error_class: 'batch_rejected', code: 'batch_id_taken', attempts: 1 }),
      );
      const isPaused = async () => (await status(world)).state === 'paused';
      for (let round = 0; round < 20 && !(await isPaused()); round += 1) {
        await passTime(world);
        await world.sql`select rowmill.flush('films')`;
        await submit.runOnce(world.worker, options());
      }
      expect(await isPaused()).toBe(true);
      expect(world.fake.called('cancelBatch')).toEqual([]);
    });

    it('in its list ends as refused as well, and is swept up without a cancel', async () => {
      await submit.runOnce(world.worker, options());
      await queue(world, 6, 10);
      await lose('before');
      const second = (await batches(world))[1]!;
      const list = world.fake.listBatches.bind(world.fake);
      world.fake.listBatches = async function* () {
        for await (const page of list()) {
          const copy = { ...page.batches[0]!, metadata: { rowmill_key: second.key } };
          yield { ...page, batches: [...page.batches, copy] };
        }
      };
      expect(await look()).toMatchObject({ recovered: 1 });
      expect(await batchStates(world)).toEqual(['running', 'rejected']);
      expect(await sweep.runOnce(world.worker, options())).toMatchObject({ swept: 1, strays: 0, files: 1 });
      expect(await batches(world)).toMatchObject([{ provider_batch_id: 'batch_1' }, { owner: null }]);
      expect(world.fake.called('cancelBatch')).toEqual([]);
    });
  });

  it('that was given up is searched for again where the list of files does not end', async () => {
    await lose('before');
    await look();
    const names = [{ id: 'file_x', name: 'of somebody' }];
    const { listFiles } = world.fake;
    world.fake.listFiles = async function* () {
      for (;;) yield names;
    };
    await expect(sweep.runOnce(world.worker, options(), limits)).rejects.toMatchObject({
      code: 'list_endless',
    });
    world.fake.listFiles = listFiles;
    await passTime(world, '3 minutes');
    expect(await sweep.runOnce(world.worker, options(), limits)).toMatchObject({ swept: 1 });
  });

  it('that was given up, and whose batch cannot be read, keeps its file', async () => {
    world.fake.after.uploadFile = () => {
      delete world.fake.after.uploadFile;
      throw providerError('ambiguous');
    };
    await submit.runOnce(world.worker, options());
    const [{ key }] = (await batches(world)) as unknown as [{ key: string }];
    world.fake.unreadable = [{ key, problem: 'it has no id' }];
    expect(await sweep.runOnce(world.worker, options())).toMatchObject({ swept: 1, strays: 0, files: 0 });
    expect(world.fake.files.size).toBe(1);
  });
});
