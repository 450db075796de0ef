import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import * as poll from '../../src/jobs/poll.ts';
import type { ProviderBatch } from '../../src/provider/provider.ts';
import { providerError } from '../support/fake-provider.ts';
import { aborted, batches, batchStates, type JobWorld, options, startJobWorld } from './job-world.ts';

describe('the poll job, with many batches', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld();
    await world.sql`update rowmill.settings set poll_every = '30 seconds'`;
  });
  afterEach(async () => {
    vi.useRealTimers();
    await world.stop();
  });

  const run = () => poll.runOnce(world.worker, options({ limit: 10_000 }));
  /** So many batches that run at the provider and are due; the first ones were submitted first. */
  async function runMany(count: number): Promise<string[]> {
    const ids: string[] = [];
    for (let at = 0; at < count; at += 1) {
      const batch = await world.fake.createBatch({ inputFileId: 'file', metadata: {} });
      ids.push(batch.id);
    }
    await world.sql`
      insert into rowmill.batch_processing_details
        (key, pipeline_id, pipeline_version, model, endpoint, state, requests, bytes, provider_batch_id, provider_status, submitted_at, poll_at)
      select 'key of ' || b.id, p.id, p.version, p.model, p.endpoint, 'running', 1, 1, b.id, 'in_progress', now(), now()
      from rowmill.pipelines as p, unnest(${ids}::text[]) with ordinality as b(id, place)
      order by b.place`;
    world.fake.calls.length = 0;
    return ids;
  }
  const called = () => ({
    list: world.fake.called('listBatches').length,
    retrieve: world.fake.called('retrieveBatch').length,
    cancel: world.fake.called('cancelBatch').length,
  });
  function endAll(status = 'completed'): void {
    for (const batch of world.fake.batches.values()) batch.status = status;
  }
  /** Has the list show what it would, but for these. */
  function hide(hidden: Set<string>): void {
    const all = world.fake.listBatches.bind(world.fake);
    world.fake.listBatches = async function* () {
      for await (const page of all()) {
        yield { ...page, batches: page.batches.filter((batch) => !hidden.has(batch.id)) };
      }
    };
  }
  async function pollTimes(): Promise<number[]> {
    const rows = await world.sql`
      select extract(epoch from poll_at - now())::float8 as seconds from rowmill.batch_processing_details order by id`;
    return rows.map((row) => row.seconds);
  }

  it('asks for 250 of them in three pages, and for none by itself', async () => {
    await runMany(250);
    endAll();
    expect(await run()).toEqual({ polled: 250, ended: 250, failed: 0, more: 0 });
    expect(called()).toEqual({ list: 3, retrieve: 0, cancel: 0 });
    expect(new Set(await batchStates(world))).toEqual(new Set(['ended']));
  });

  it('records of each what the list says of it', async () => {
    await runMany(20);
    const batch = world.fake.end('completed', { id: 'batch_7', output: 'x', error: 'y' });
    batch.counts = { total: 9, completed: 7, failed: 2 };
    world.fake.end('failed', { id: 'batch_8', errors: [{ code: 'c', message: 'a \0 in it', line: 3 }] });
    world.fake.end('finalizing', { id: 'batch_9' });
    expect(await run()).toMatchObject({ polled: 20, ended: 2 });
    const recorded = await batches(world);
    expect(recorded.slice(5, 10)).toMatchObject([
      { state: 'running', provider_status: 'in_progress' },
      {
        ...{ state: 'ended', output_file_id: batch.outputFileId, error_file_id: batch.errorFileId },
        ...{ requests_completed: 7, requests_failed: 2, provider_errors: null },
      },
      { state: 'ended', provider_errors: [{ code: 'c', message: 'a \u2400 in it', line: 3 }] },
      { state: 'running', provider_status: 'finalizing' },
      { state: 'running', provider_status: 'in_progress' },
    ]);
    for (const { polled_at: at } of recorded) expect(at).not.toBeNull();
  });

  it.each([
    [19, { list: 0, retrieve: 19, cancel: 0 }],
    [20, { list: 1, retrieve: 0, cancel: 0 }],
  ])('asks together from 20 on: %i', async (count, calls) => {
    await runMany(count);
    expect(await run()).toMatchObject({ polled: count });
    expect(called()).toEqual(calls);
  });

  it('asks one by one for those that the list does not show', async () => {
    const ids = await runMany(30);
    hide(new Set(ids.slice(4, 7)));
    endAll();
    expect(await run()).toEqual({ polled: 30, ended: 30, failed: 0, more: 0 });
    expect(called()).toEqual({ list: 1, retrieve: 3, cancel: 0 });
    expect(world.fake.called('retrieveBatch').sort()).toEqual(ids.slice(4, 7));
  });

  it('reads no further page of a long list after three that show none that is due', async () => {
    await runMany(25);
    // Newer ones, of somebody else, which the list shows first.
    for (let at = 0; at < 60; at += 1) await world.fake.createBatch({ inputFileId: 'f', metadata: {} });
    world.fake.pageSize = 1;
    world.fake.calls.length = 0;
    expect(await run()).toMatchObject({ polled: 25, failed: 0 });
    expect(called()).toEqual({ list: 3, retrieve: 25, cancel: 0 });
  });

  it('reads no further page once those that are left cost no more one by one', async () => {
    await runMany(25);
    world.fake.pageSize = 5;
    // The last one created is in the first page; two that are hidden could be on any of the others.
    hide(new Set(['batch_24', 'batch_25']));
    expect(await run()).toMatchObject({ polled: 25, failed: 0 });
    // 3, 5, 5, 5 seen: 7 are left after four pages, 2 after five.
    expect(called()).toEqual({ list: 5, retrieve: 2, cancel: 0 });
  });

  it('reads no page beyond the one that has the last of them', async () => {
    for (let at = 0; at < 150; at += 1) await world.fake.createBatch({ inputFileId: 'f', metadata: {} });
    await runMany(40);
    expect(await run()).toMatchObject({ polled: 40 });
    expect(called()).toEqual({ list: 1, retrieve: 0, cancel: 0 });
  });

  it('asks one by one where the list cannot be read', async () => {
    await runMany(22);
    endAll();
    world.fake.before.listBatches = () => {
      throw providerError('ambiguous', { status: 502 });
    };
    expect(await run()).toEqual({ polled: 22, ended: 22, failed: 0, more: 0 });
    expect(called()).toEqual({ list: 1, retrieve: 22, cancel: 0 });
  });

  it('looks meanwhile at what becomes due while one look is slow', async () => {
    const [slow] = await runMany(1);
    const other = Promise.withResolvers<void>();
    world.fake.before.retrieveBatch = async (id) => {
      if (id === slow) await other.promise;
      else other.resolve();
    };
    const running = run();
    await vi.waitFor(() => expect(called().retrieve).toBe(1));
    await runMany(1);
    expect(await running).toMatchObject({ polled: 2, failed: 0 });
  });

  it('leaves a list that cannot be read alone for a minute', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    await runMany(20);
    world.fake.before.listBatches = () => {
      throw providerError('ambiguous');
    };
    const again = async () => {
      await world.sql`update rowmill.batch_processing_details set poll_at = now()`;
      await run();
    };
    await run();
    await again();
    expect(called()).toEqual({ list: 1, retrieve: 40, cancel: 0 });
    vi.advanceTimersByTime(60_000);
    delete world.fake.before.listBatches;
    await again();
    expect(called()).toEqual({ list: 2, retrieve: 40, cancel: 0 });
  });

  it('keeps what it read of a list that breaks off', async () => {
    await runMany(25);
    endAll();
    world.fake.pageSize = 10;
    let pages = 0;
    world.fake.before.listBatches = () => {
      pages += 1;
      if (pages === 3) throw providerError('ambiguous', { status: 502 });
    };
    expect(await run()).toEqual({ polled: 25, ended: 25, failed: 0, more: 0 });
    expect(called()).toEqual({ list: 3, retrieve: 5, cancel: 0 });
  });

  it('asks for each once where the list shows a batch on two pages', async () => {
    await runMany(22);
    endAll();
    const all = world.fake.listBatches.bind(world.fake);
    world.fake.listBatches = async function* () {
      for await (const page of all()) yield* [page, page];
    };
    expect(await run()).toEqual({ polled: 22, ended: 22, failed: 0, more: 0 });
  });

  it('cancels those that are to be cancelled, and those that are over end as they did', async () => {
    const ids = await runMany(30);
    await world.sql`
      update rowmill.batch_processing_details set cancel_asked = true where provider_batch_id = any (${ids.slice(0, 3)}::text[])`;
    world.fake.end('completed', { id: ids[1]!, output: '' });
    world.fake.end('cancelling', { id: ids[2]! });
    expect(await run()).toMatchObject({ polled: 30, ended: 1, failed: 0 });
    expect(called()).toEqual({ list: 1, retrieve: 1, cancel: 1 });
    expect(world.fake.called('cancelBatch')).toEqual([ids[0]]);
    expect((await batches(world)).slice(0, 3)).toMatchObject([
      { state: 'running', provider_status: 'cancelling' },
      { state: 'ended', provider_status: 'completed' },
      { state: 'running', provider_status: 'cancelling' },
    ]);
  });

  it('records 600 in groups of 500', async () => {
    await runMany(600);
    endAll();
    const { recordPolls } = world.worker.store;
    const groups: number[] = [];
    world.worker.store.recordPolls = (polls) => {
      groups.push(polls.length);
      return recordPolls(polls);
    };
    expect(await run()).toEqual({ polled: 600, ended: 600, failed: 0, more: 0 });
    expect(groups).toEqual([500, 100]);
    expect(called()).toEqual({ list: 6, retrieve: 0, cancel: 0 });
  });

  it('what cannot be recorded is looked at again', async () => {
    await runMany(30);
    endAll();
    const { recordPolls } = world.worker.store;
    world.worker.store.recordPolls = () => Promise.reject(new Error('out of reach'));
    await expect(run()).rejects.toThrow('out of reach');
    world.worker.store.recordPolls = recordPolls;
    expect(await run()).toMatchObject({ polled: 0 });
    await world.sql`update rowmill.batch_processing_details set poll_at = poll_at - interval '1 minute'`;
    expect(await run()).toMatchObject({ polled: 30, ended: 30 });
  });

  it('says of each batch that another worker ended first that it was not this one', async () => {
    await runMany(20);
    endAll();
    const { recordPolls } = world.worker.store;
    world.worker.store.recordPolls = async (polls) => {
      await recordPolls(polls.slice(0, 5));
      return await recordPolls(polls);
    };
    expect(await run()).toMatchObject({ polled: 20, ended: 15 });
  });

  it('two workers at once end each batch once', async () => {
    await runMany(60);
    endAll();
    const workers = [world.worker, world.another('w2')];
    const runs = await Promise.all(workers.map((worker) => poll.runOnce(worker, options({ limit: 100 }))));
    expect(runs[0]!.ended! + runs[1]!.ended!).toBe(60);
  });

  it('asks nothing once the signal is aborted', async () => {
    await runMany(30);
    expect(await poll.runOnce(world.worker, aborted())).toMatchObject({ polled: 0 });
    expect(called()).toEqual({ list: 0, retrieve: 0, cancel: 0 });
  });

  it('begins no look by itself once the service stops in the middle of the list', async () => {
    await runMany(30);
    const abort = new AbortController();
    world.fake.before.listBatches = () => {
      abort.abort(new Error('the service stops'));
      throw providerError('ambiguous');
    };
    await poll.runOnce(world.worker, options({ limit: 100, signal: abort.signal }));
    expect(called()).toEqual({ list: 1, retrieve: 0, cancel: 0 });
    expect((await batches(world)).filter((batch) => batch.problem !== null)).toEqual([]);
  });

  it('a few that are due are spread, by a tenth either way', async () => {
    await runMany(19);
    await run();
    const times = await pollTimes();
    expect(new Set(times.map((time) => time.toFixed(3))).size).toBeGreaterThan(10);
    for (const time of times) {
      expect(time).toBeGreaterThan(25);
      expect(time).toBeLessThanOrEqual(33);
    }
  });

  it('many that are due stay together, and those that soon will be come along', async () => {
    await runMany(30);
    await world.sql`update rowmill.batch_processing_details set poll_at = now() + interval '10 seconds' where id > 20`;
    await world.sql`update rowmill.batch_processing_details set poll_at = now() + interval '31 seconds' where id > 25`;
    expect(await run()).toMatchObject({ polled: 25 });
    const rows = await world.sql`
      select poll_at, count(*)::integer as batches from rowmill.batch_processing_details where id <= 25 group by poll_at`;
    expect(rows).toMatchObject([{ batches: 25 }]);
  });

  it('where few are due, those that soon will be wait for their time', async () => {
    await runMany(30);
    await world.sql`update rowmill.batch_processing_details set poll_at = now() + interval '5 seconds' where id > 19`;
    expect(await run()).toMatchObject({ polled: 19 });
  });

  it.each([
    ['a new one after poll_every', '0 seconds', 30],
    ['one of half an hour as well', '30 minutes', 30],
    ['one of two hours after a sixtieth of that', '2 hours', 120],
    ['one of a day after ten times poll_every', '1 day', 300],
  ])('older ones are looked at less often: %s', async (_what, age, seconds) => {
    await runMany(20);
    await world.sql`
      update rowmill.batch_processing_details set submitted_at = submitted_at - ${age}::text::interval`;
    await run();
    for (const time of await pollTimes()) {
      expect(time).toBeGreaterThan(seconds - 3);
      expect(time).toBeLessThanOrEqual(seconds + 1);
    }
  });

  it('a status that nobody has heard of yet ends nothing', async () => {
    await runMany(20);
    endAll('paused_by_martians' satisfies ProviderBatch['status']);
    expect(await run()).toMatchObject({ polled: 20, ended: 0 });
    expect(new Set(await batchStates(world))).toEqual(new Set(['running']));
  });
});
