import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import * as poll from '../../src/jobs/poll.ts';
import * as recover from '../../src/jobs/recover.ts';
import * as submit from '../../src/jobs/submit.ts';
import type { Hold } from '../../src/store/leases.ts';
import { providerError } from '../support/fake-provider.ts';
import {
  age,
  answers,
  batches,
  batchStates,
  chunkStates,
  ended,
  failures,
  type JobWorld,
  options,
  passTime,
  queue,
  replaceCall,
  startJobWorld,
  status,
} from './job-world.ts';

describe('a batch on its way to the provider', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5 } });
    await queue(world, 1, 5);
  });
  afterEach(async () => {
    vi.useRealTimers();
    await world.stop();
  });

  const run = (worker = world.worker) => submit.runOnce(worker, options());
  const find = (worker = world.another('finder')) => recover.runOnce(worker, options());
  /** The lease of a worker that asks the test whether it is held. */
  const hold = (signal: AbortSignal): Hold => ({
    ...{ id: 'w1/1', durationMs: 120_000, signal },
    ...{ assertHeld: () => signal.throwIfAborted(), end: () => {} },
  });
  /** Another worker finds the intent silent for long enough, and gives it up. */
  async function giveUp(): Promise<void> {
    await age(world, '1 hour');
    await passTime(world, '3 minutes');
    expect(await find()).toMatchObject({ recovered: 1 });
  }

  it('is not created once the lease is no longer sure: the process slept after its upload', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    replaceCall(world.worker, 'noteInputFile', async (note, ...args) => {
      const isNoted = await note(...args);
      vi.advanceTimersByTime(120_000);
      return isNoted;
    });
    expect(await run()).toMatchObject({ fetched: 1, submitted: 0 });
    expect(world.fake.called('createBatch')).toEqual([]);
    // Nobody knows that it was not: it is looked up, as any other.
    expect(await batches(world)).toMatchObject([
      { state: 'preparing', owner: null, problem: expect.stringContaining('ran out') },
    ]);
    expect((await status(world)).problem).toBeNull();
    vi.useRealTimers();
    await giveUp();
    await passTime(world, '30 seconds');
    expect(await run(world.another('w2'))).toMatchObject({ submitted: 1 });
    expect(world.fake.batches.size).toBe(1);
  });

  it('is created where the lease is renewed during an upload that takes longer than one', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    world.fake.before.uploadFile = async () => {
      for (let minutes = 0; minutes < 10; minutes += 1) {
        vi.advanceTimersByTime(60_000);
        await passTime(world, '1 minute');
        expect(await world.worker.store.renewLeases()).toBe(1);
      }
    };
    expect(await run()).toMatchObject({ submitted: 1 });
  });

  it('whose lease ends during the upload is cut short, and what may have arrived is searched for', async () => {
    const abort = new AbortController();
    world.worker.leased.hold = hold(abort.signal);
    world.fake.uploadFile = (_name, _parts, signal?: AbortSignal) => {
      abort.abort(new Error('the lease is lost'));
      return Promise.reject(signal!.aborted ? providerError('ambiguous') : new Error('it goes on'));
    };
    expect(await run()).toMatchObject({ fetched: 1, submitted: 0 });
    expect(await batches(world)).toMatchObject([{ state: 'abandoned', sweep_at: expect.any(Date) }]);
    expect(await chunkStates(world)).toEqual(['waiting']);
  });

  it('whose lease ends while its create is on its way is cut short, and looked up by its key', async () => {
    const abort = new AbortController();
    world.worker.leased.hold = hold(abort.signal);
    let reason: unknown;
    world.fake.createBatch = (_input, signal?: AbortSignal) => {
      abort.abort(new Error('the lease is lost'));
      reason = signal!.reason;
      return Promise.reject(providerError('ambiguous'));
    };
    expect(await run()).toMatchObject({ fetched: 1, submitted: 0 });
    expect(reason).toBe(abort.signal.reason);
    expect(await batches(world)).toMatchObject([{ state: 'preparing', owner: null }]);
    expect(await chunkStates(world)).toEqual(['batched']);
  });

  it('is given up one lease after its upload, although the lease is renewed all the time', async () => {
    world.worker.leased.hold = { ...hold(new AbortController().signal), durationMs: 100 };
    world.fake.before.uploadFile = () => {
      // However long that takes: a create follows within one lease of its end.
      vi.advanceTimersByTime(100_000);
    };
    vi.useFakeTimers({ toFake: ['performance'] });
    let reason: unknown;
    world.fake.createBatch = (_input, signal?: AbortSignal) =>
      new Promise((_resolve, reject) => {
        signal!.addEventListener('abort', () => {
          reason = signal!.reason;
          reject(providerError('ambiguous'));
        });
      });
    expect(await run()).toMatchObject({ fetched: 1, submitted: 0 });
    expect(reason).toMatchObject({ name: 'TimeoutError' });
    expect(await batches(world)).toMatchObject([{ state: 'preparing', owner: null }]);
    expect(await chunkStates(world)).toEqual(['batched']);
  });

  it('that is created after its intent was given up is a stray: it is cancelled, and its rows are asked once', async () => {
    // The process sleeps between its last look at its lease and its request.
    world.fake.before.createBatch = async () => {
      delete world.fake.before.createBatch;
      await giveUp();
    };
    expect(await run()).toMatchObject({ fetched: 1, submitted: 0 });
    expect(await batches(world)).toMatchObject([
      { state: 'running', cancel_asked: true, provider_batch_id: 'batch_1' },
    ]);
    expect(await chunkStates(world)).toEqual(['waiting']);
    expect((await status(world)).problem).toBeNull();
    await poll.runOnce(world.worker, options());
    expect(world.fake.called('cancelBatch')).toEqual(['batch_1']);
    await passTime(world, '30 seconds');
    expect(await run()).toMatchObject({ submitted: 1 });
    expect(await batches(world)).toMatchObject([{ cancel_asked: true }, { cancel_asked: false }]);
    expect(await chunkStates(world)).toEqual(['batched']);
  });

  it('that is the second of its intent is cancelled at once, and nothing is recorded of it', async () => {
    world.fake.before.createBatch = async () => {
      delete world.fake.before.createBatch;
      // Somebody's request with the same key arrived, and another worker adopted what came of it.
      const [{ key, input_file_id: inputFileId }] = (await batches(world)) as unknown as [
        { key: string; input_file_id: string },
      ];
      await world.fake.createBatch({ inputFileId, metadata: { rowmill_key: key } });
      await passTime(world, '3 minutes');
      expect(await find()).toMatchObject({ recovered: 1 });
    };
    expect(await run()).toMatchObject({ submitted: 0 });
    expect(await batches(world)).toMatchObject([
      { state: 'running', provider_batch_id: 'batch_1', cancel_asked: false },
    ]);
    expect(world.fake.called('cancelBatch')).toEqual(['batch_2']);
    expect(world.fake.files.size).toBe(1);
  });

  it('that was adopted while its own worker waited is the same batch: nothing is cancelled', async () => {
    world.fake.after.createBatch = async () => {
      delete world.fake.after.createBatch;
      await passTime(world, '3 minutes');
      expect(await find()).toMatchObject({ recovered: 1 });
    };
    expect(await run()).toMatchObject({ submitted: 1 });
    expect(await batches(world)).toMatchObject([{ state: 'running', cancel_asked: false }]);
    expect(world.fake.called('cancelBatch')).toEqual([]);
    await ended(world, 'completed', { output: answers(world.fake.customIds()) });
    expect(await batchStates(world)).toEqual(['ended']);
  });

  it('whose intent is found twice at the provider is adopted once, and the other one cancelled', async () => {
    world.fake.after.createBatch = () => {
      delete world.fake.after.createBatch;
      throw providerError('ambiguous');
    };
    await run();
    const [{ key }] = (await batches(world)) as unknown as [{ key: string }];
    await world.fake.createBatch({ inputFileId: 'file', metadata: { rowmill_key: key } });
    await passTime(world, '20 seconds');
    expect(await find()).toMatchObject({ recovered: 1 });
    const [batch] = await batches(world);
    expect(batch).toMatchObject({ state: 'running', cancel_asked: false });
    const others = ['batch_1', 'batch_2'].filter((id) => id !== batch!.provider_batch_id);
    expect(world.fake.called('cancelBatch')).toEqual(others);
  });

  it.each([
    ['an upload without an answer may have left its file', 'ambiguous', true],
    ['an upload that was turned away has left none', 'busy', false],
    ['an upload that was refused has left none', 'rejected', false],
  ] as const)('%s', async (_what, kind, mayHaveLeft) => {
    world.fake.before.uploadFile = () => {
      throw providerError(kind);
    };
    await run();
    const [batch] = await batches(world);
    expect(batch!.state).toBe('abandoned');
    expect(batch!.sweep_at !== null).toBe(mayHaveLeft);
  });

  it.each([
    [true, 'left'],
    [false, 'gone'],
  ])(
    'of a create that was turned away searches for its file only where that is left (%s)',
    async (isLeft) => {
      world.fake.before.createBatch = () => {
        throw providerError('busy', { status: 429 });
      };
      if (isLeft) {
        world.fake.before.deleteFile = () => {
          throw providerError('ambiguous');
        };
      }
      await run();
      const [batch] = await batches(world);
      expect(batch!.state).toBe('abandoned');
      expect(batch!.sweep_at !== null).toBe(isLeft);
    },
  );
});

describe('the intent of a batch that is full', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 40 } });
    // Films 7 to 12 fit into no batch, and not all of the others into one.
    await world.sql`
      insert into films (id, title)
      select n, case when n between 7 and 12 then repeat('x', 20000) else 'film ' || n end from generate_series(1, 30) as n`;
    await world.sql`select rowmill.flush('films')`;
  });
  afterEach(() => world.stop());
  const maxFileBytes = 6_000;

  /** How often each film stands in the queue, or in a chunk that is not over. */
  async function standing(): Promise<Map<number, number>> {
    const rows = await world.sql<{ id: number; times: number }[]>`
      select (e.key ->> 0)::integer as id, count(*)::integer as times
      from (
        select keys from rowmill.pending_keys
        union all
        select keys from rowmill.chunks where state in ('waiting', 'accepted')
      ) as q
      cross join lateral jsonb_array_elements(q.keys) as e(key)
      group by 1`;
    return new Map(rows.map((row) => [row.id, row.times]));
  }
  const once = (ids: number[]) => new Map(ids.map((id) => [id, 1]));
  const all = Array.from({ length: 30 }, (_, at) => at + 1);

  it('and what found no room are written at once', async () => {
    const worker = world.another('w2', { maxFileBytes });
    expect(await submit.runOnce(worker, options())).toMatchObject({ submitted: 1 });
    const sent = world.fake.customIds().map((id) => Number(id.split('-')[1]) + 1);
    expect(sent.length).toBeGreaterThan(5);
    const refused = (await failures(world)).map((row) => row.key[0]);
    expect(refused.length).toBeGreaterThan(0);
    const left = all.filter((id) => !sent.includes(id) && !refused.includes(id));
    expect(left.length).toBeGreaterThan(5);
    expect(await standing()).toEqual(once(left));
    expect(await world.sql`select from rowmill.chunk_rows`).toHaveLength(sent.length);
  });

  it('that could not be written leaves nothing queued twice, and the next run sends each row once', async () => {
    const broken = world.another('broken', {
      maxFileBytes,
      leased: { beginBatch: () => Promise.reject(new Error('out of reach')) },
    });
    expect(await submit.runOnce(broken, options())).toMatchObject({ fetched: 1, submitted: 0 });
    expect(await chunkStates(world)).toEqual(['waiting']);
    expect(await standing()).toEqual(once(all));
    expect(await world.sql`select from rowmill.pending_keys`).toHaveLength(0);
    expect(await world.sql`select from rowmill.chunk_rows`).toHaveLength(0);
    const worker = world.another('w2', { maxFileBytes });
    for (let times = 0; times < 4; times += 1) {
      await passTime(world);
      await world.sql`select rowmill.flush('films')`;
      await submit.runOnce(worker, options());
    }
    const ids = [...world.fake.batches.keys()].flatMap((id) => world.fake.customIds(id));
    expect(ids).toHaveLength(24);
    expect(new Set(ids).size).toBe(24);
    expect((await failures(world)).map((row) => [row.key[0], row.is_final])).toEqual(
      [7, 8, 9, 10, 11, 12].map((id) => [id, true]),
    );
  });

  it('whose writing had no answer has queued them once', async () => {
    const unlucky = world.another('unlucky', { maxFileBytes });
    replaceCall(unlucky, 'beginBatch', async (begin, ...args) => {
      await begin(...args);
      throw new Error('the connection broke');
    });
    expect(await submit.runOnce(unlucky, options())).toMatchObject({ fetched: 1, submitted: 0 });
    expect(await batchStates(world)).toEqual(['preparing']);
    const held = await world.sql`select from rowmill.chunk_rows`;
    const queued = await standing();
    expect(new Set(queued.values())).toEqual(new Set([1]));
    expect(queued.size + held.length + (await failures(world)).length).toBe(30);
    expect(world.fake.calls).toEqual([]);
  });

  it('that another worker took over in the meantime queues nothing', async () => {
    const slow = world.another('slow', { maxFileBytes });
    replaceCall(slow, 'beginBatch', async (begin, ...args) => {
      await world.sql`update rowmill.chunks set owner = 'w9/1'`;
      return await begin(...args);
    });
    expect(await submit.runOnce(slow, options())).toMatchObject({ fetched: 1, submitted: 0 });
    expect(await world.sql`select from rowmill.pending_keys`).toHaveLength(0);
    expect(await batches(world)).toHaveLength(0);
    expect(world.fake.calls).toEqual([]);
  });
});
