import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import * as recover from '../../src/jobs/recover.ts';
import * as submit from '../../src/jobs/submit.ts';
import * as sweep from '../../src/jobs/sweep.ts';
import * as tick from '../../src/jobs/tick.ts';
import type { Lease, Slice, Verdict } from '../../src/store/store.ts';
import { providerError } from '../support/fake-provider.ts';
import { makeIntent } from '../support/make-intent.ts';
import { answer, type HeldRow } from '../support/sql-factories.ts';
import {
  age,
  answers,
  batches,
  chunkStates,
  ended,
  type JobWorld,
  options,
  passTime,
  queue,
  replaceCall,
  startJobWorld,
  status,
  submitted,
} from './job-world.ts';

const tables = [
  ...['chunks', 'chunk_rows', 'batch_processing_details', 'pending_keys', 'failures', 'answered_rows'],
  ...['spending', 'model_states', 'pipelines'],
].map((name) => `rowmill.${name}`);

let world: JobWorld;
beforeAll(async () => {
  world = await startJobWorld({ pipeline: { chunk_size: 10 } });
});
afterAll(() => world.stop());
beforeEach(async () => {
  await world.sql.unsafe(`truncate films, ${tables.slice(0, -1).join(', ')}`);
  // Its problems, and that it was paused after so many batches whose rows were missing.
  await world.sql`select rowmill.resume_pipeline('films')`;
  for (const map of [world.fake.files, world.fake.names, world.fake.batches]) map.clear();
  for (const method of Object.keys(world.fake.before)) delete world.fake.before[method as never];
});

/** Everything that a worker may change. */
async function everything(): Promise<unknown> {
  const all: Record<string, unknown> = {};
  for (const table of [...tables, 'films']) {
    all[table] = (await world.sql.unsafe(`select to_jsonb(t) as row from ${table} as t order by 1`)).map(
      ({ row }) => row,
    );
  }
  return all;
}

type Scene = { chunkId: number; batchId: number; rows: HeldRow[] };
/** Puts something under a lease; `takeOver` lets that run out and puts it under the next one. */
type Setting = { claim(lease: Lease): Promise<Scene>; takeOver(lease: Lease, scene: Scene): Promise<void> };

async function takeChunk(lease: Lease): Promise<Scene> {
  const [chunk] = await lease.claimWork(1);
  return { chunkId: chunk!.chunk_id, batchId: 0, rows: [] };
}
async function holdAll(lease: Lease, scene: Scene): Promise<void> {
  const read = await world.worker.store.readChunk(scene.chunkId, 0, 10);
  await lease.holdRows(scene.chunkId, read);
  scene.rows = read.map((row) => ({ c: scene.chunkId, n: row.n, h: row.hash, input: row.input }));
}
async function begin(lease: Lease, { chunkId }: Scene): Promise<number> {
  const begun = await lease.beginBatch(makeIntent([chunkId]));
  if (begun.status !== 'begun') throw new Error(`no batch was begun: ${JSON.stringify(begun)}`);
  return begun.batch_id;
}
async function leaseRunsOut(): Promise<void> {
  await passTime(world, '3 minutes');
  await tick.runOnce(world.worker, options());
}

const chunk: Setting = {
  async claim(lease) {
    await queue(world, 1, 3);
    return await takeChunk(lease);
  },
  async takeOver(lease) {
    await leaseRunsOut();
    await takeChunk(lease);
  },
};
const heldChunk: Setting = {
  async claim(lease) {
    const scene = await chunk.claim(lease);
    await holdAll(lease, scene);
    return scene;
  },
  async takeOver(lease, scene) {
    await chunk.takeOver(lease, scene);
    await holdAll(lease, scene);
  },
};
const intent: Setting = {
  async claim(lease) {
    const scene = await heldChunk.claim(lease);
    scene.batchId = await begin(lease, scene);
    return scene;
  },
  async takeOver(lease) {
    await leaseRunsOut();
    expect(await lease.claimStaleIntents(1)).toHaveLength(1);
  },
};
const endedBatch: Setting = {
  async claim(lease) {
    const scene = await intent.claim(lease);
    await world.worker.store.startBatch(scene.batchId, 'batch_1', 'in_progress', 'file');
    await world.worker.store.recordPolls([
      {
        ...{ batch_id: scene.batchId, provider_status: 'completed', is_terminal: true },
        ...{ output_file_id: 'out', error_file_id: null, provider_errors: null },
        ...{ requests_completed: 3, requests_failed: 0 },
        ...{ input_tokens: null, cached_tokens: null, output_tokens: null },
      },
    ]);
    expect(await lease.claimEndedBatches(1)).toHaveLength(1);
    return scene;
  },
  async takeOver(lease) {
    await leaseRunsOut();
    expect(await lease.claimEndedBatches(1)).toHaveLength(1);
  },
};
const verdict: Verdict = { class: 'missing', code: null, message: 'm', retried: true, counted: true };
const harvestedBatch: Setting = {
  async claim(lease) {
    const scene = await endedBatch.claim(lease);
    expect(await lease.finishHarvest(scene.batchId, verdict, false)).toBe(3);
    return scene;
  },
  takeOver: endedBatch.takeOver,
};
const sweptIntent: Setting = {
  async claim(lease) {
    const scene = await intent.claim(lease);
    await lease.abandonBatch(scene.batchId, 'p', true, null);
    expect(await lease.claimSweeps(1)).toHaveLength(1);
    return scene;
  },
  async takeOver(lease) {
    await leaseRunsOut();
    expect(await lease.claimSweeps(1)).toHaveLength(1);
  },
};

const slice = (rows: HeldRow[]): Slice => ({
  ...{ file: 'output', from_position: 0, to_position: 100, failures: [] },
  answers: rows.map((row) => answer(row, 'an answer')) as Slice['answers'],
  ...{ unknown_lines: 0, repeated_lines: 0, input_tokens: 10, cached_tokens: 0, output_tokens: 5 },
  billed_requests: rows.length,
});
const refusal = {
  class: 'invalid_request',
  code: null,
  message: 'm',
  retried: false,
  counted: true,
} as const;

/** A call, what it is made on, and what it answers where that is another's. */
const calls: [string, Setting, (lease: Lease, scene: Scene) => Promise<unknown>, unknown][] = [
  [
    'holdRows',
    chunk,
    async (lease, { chunkId }) => lease.holdRows(chunkId, await world.worker.store.readChunk(chunkId, 0, 10)),
    new Map(),
  ],
  [
    'refuseRows',
    heldChunk,
    (lease, { chunkId, rows }) =>
      lease.refuseRows(
        chunkId,
        rows.map(({ n, h }) => ({ n, h, ...refusal })),
      ),
    0,
  ],
  ['closeChunk', chunk, (lease, { chunkId }) => lease.closeChunk(chunkId), false],
  [
    'holdBackChunks',
    heldChunk,
    (lease, { chunkId }) =>
      lease.holdBackChunks('tokens', 'no room', [
        { c: chunkId, requests: 3, bytes: 100, raw_input_tokens: 60, max_output_tokens: null },
      ]),
    0,
  ],
  ['releaseChunk', heldChunk, (lease, { chunkId }) => lease.releaseChunk(chunkId), false],
  [
    'beginBatch',
    heldChunk,
    (lease, { chunkId }) =>
      lease.beginBatch(makeIntent([chunkId], { requests: 2, left_over: [{ c: chunkId, n: 2 }] })),
    { status: 'lost' },
  ],
  ['noteInputFile', intent, (lease, { batchId }) => lease.noteInputFile(batchId, 'file-late'), false],
  ['abandonBatch', intent, (lease, { batchId }) => lease.abandonBatch(batchId, 'p', true, null), false],
  ['rejectBatch', intent, (lease, { batchId }) => lease.rejectBatch(batchId, verdict, true), null],
  ['letGoOfBatch, of an intent', intent, (lease, { batchId }) => lease.letGoOfBatch(batchId, 'p'), false],
  ['applyResults', endedBatch, (lease, { batchId, rows }) => lease.applyResults(batchId, slice(rows)), null],
  ['noteGoneFile', endedBatch, (lease, { batchId }) => lease.noteGoneFile(batchId), false],
  ['finishHarvest', endedBatch, (lease, { batchId }) => lease.finishHarvest(batchId, verdict, false), null],
  ['letGoOfBatch, of a harvest', endedBatch, (lease, { batchId }) => lease.letGoOfBatch(batchId, 'p'), false],
  ['finishBatch', harvestedBatch, (lease, { batchId }) => lease.finishBatch(batchId), false],
  ['finishSweep', sweptIntent, (lease, { batchId }) => lease.finishSweep(batchId, 0), false],
];

describe.each([
  ['another worker', 'w2'],
  ['the same worker, under its next lease', 'w1'],
])('what was taken over by %s', (_whose, heirName) => {
  it.each(calls)('is not moved by a late %s', async (_call, setting, call, refused) => {
    const { store } = world.worker;
    const late = await store.takeLease();
    const heir = await (heirName === 'w1' ? store : world.another(heirName).store).takeLease();
    const scene = await setting.claim(late);
    await setting.takeOver(heir, scene);
    const before = await everything();
    expect(await call(late, scene)).toEqual(refused);
    expect(await everything()).toEqual(before);
    // ... and is by the call of whoever has it now.
    await call(heir, scene);
    expect(await everything()).not.toEqual(before);
  });
});

describe('a claim whose answer is lost', () => {
  const lost = () => {
    throw new Error('the connection broke');
  };

  it('of chunks is not renewed, although its worker lives: they run out, and are sent by another', async () => {
    await queue(world, 1, 3);
    const worker = world.another('unlucky');
    replaceCall(worker, 'claimWork', (claim, max) => claim(max).then(lost));
    await expect(submit.runOnce(worker, options())).rejects.toThrow('the connection broke');
    expect(await chunkStates(world)).toEqual(['accepted']);
    expect(await worker.store.renewLeases()).toBe(0);
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 0 });
    await leaseRunsOut();
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 1, submitted: 1 });
  });

  it('of one chunk is not renewed either', async () => {
    await queue(world, 1, 3);
    const { store } = world.another('unlucky');
    const lease = await store.takeLease();
    const [waiting] = await world.sql`select id from rowmill.chunks`;
    await lease.claimChunk(waiting!.id, 'films', null);
    expect(await store.renewLeases()).toBe(1);
    // As the route does where the call rejects.
    lease.hold.end();
    expect(await store.renewLeases()).toBe(0);
    await leaseRunsOut();
    expect(await chunkStates(world)).toEqual(['waiting']);
  });

  it('of ended batches is not renewed: another harvests them', async () => {
    const ids = await submitted(world, 1, 3);
    await ended(world, 'completed', { output: answers(ids) });
    const worker = world.another('unlucky');
    replaceCall(worker, 'claimEndedBatches', (claim, max) => claim(max).then(lost));
    await expect(harvest.runOnce(worker, options())).rejects.toThrow('the connection broke');
    expect(await worker.store.renewLeases()).toBe(0);
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ claimed: 0 });
    await leaseRunsOut();
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ harvested: 1 });
    expect(await status(world)).toMatchObject({ enriched: 3 });
  });

  it('of stale intents is not renewed: another settles them', async () => {
    await queue(world, 1, 3);
    world.fake.before.createBatch = () => {
      delete world.fake.before.createBatch;
      throw providerError('ambiguous');
    };
    await submit.runOnce(world.worker, options());
    await passTime(world, '20 seconds');
    const worker = world.another('unlucky');
    replaceCall(worker, 'claimStaleIntents', (claim, max) => claim(max).then(lost));
    await expect(recover.runOnce(worker, options())).rejects.toThrow('the connection broke');
    expect(await worker.store.renewLeases()).toBe(0);
    await age(world, '1 hour');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 0 });
    await leaseRunsOut();
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 1 });
  });

  it('of sweeps is not renewed: another searches', async () => {
    await intent.claim(await world.worker.store.takeLease());
    await world.sql`select rowmill.abandon_batch(id, owner, 'p', true) from rowmill.batch_processing_details`;
    const worker = world.another('unlucky');
    replaceCall(worker, 'claimSweeps', (claim, max) => claim(max).then(lost));
    await expect(sweep.runOnce(worker, options())).rejects.toThrow('the connection broke');
    expect(await worker.store.renewLeases()).toBe(0);
    expect(await sweep.runOnce(world.worker, options())).toMatchObject({ swept: 0 });
    await leaseRunsOut();
    expect(await sweep.runOnce(world.worker, options())).toMatchObject({ swept: 1 });
  });
});

describe('what a worker has in hand', () => {
  it('is renewed by name, chunks and batches alike, and nothing else of the same worker', async () => {
    const { store } = world.worker;
    const held = await store.takeLease();
    await queue(world, 1, 3);
    await takeChunk(held);
    await queue(world, 11, 13);
    const begun = await store.takeLease();
    const scene = await takeChunk(begun);
    await begin(begun, scene);
    await queue(world, 21, 23);
    const dropped = await store.takeLease();
    await takeChunk(dropped);
    dropped.hold.end();

    await passTime(world, '110 seconds');
    expect(await store.renewLeases()).toBe(2);
    await passTime(world, '20 seconds');
    const { released } = await tick.runOnce(world.worker, options());
    expect(released).toBe(1);
    expect(await chunkStates(world)).toEqual(['accepted', 'batched', 'waiting']);
    expect(await batches(world)).toMatchObject([{ owner: begun.hold.id }]);
    expect(
      await world
        .another('w2')
        .store.takeLease()
        .then((lease) => lease.claimStaleIntents(1)),
    ).toEqual([]);
    held.hold.end();
    begun.hold.end();
  });

  it('is not renewed once it has run out in the database', async () => {
    const { store } = world.worker;
    const lease = await store.takeLease();
    await queue(world, 1, 3);
    await takeChunk(lease);
    await passTime(world, '3 minutes');
    expect(await store.renewLeases()).toBe(0);
    expect(await tick.runOnce(world.worker, options())).toMatchObject({ released: 1 });
    lease.hold.end();
  });

  it('is let go of in the end, whatever becomes of a run', async () => {
    const worker = world.another('w3');
    const { takeLease } = worker.store;
    const ends: ReturnType<typeof vi.spyOn>[] = [];
    worker.store.takeLease = async () => {
      const lease = await takeLease();
      ends.push(vi.spyOn(lease.hold, 'end'));
      return lease;
    };
    const jobs = [submit, recover, harvest, sweep];
    for (const job of jobs) await job.runOnce(worker, options());
    await queue(world, 1, 3);
    await submit.runOnce(worker, options());
    await ended(world, 'completed', { output: answers(world.fake.customIds()) });
    await harvest.runOnce(worker, options());
    expect(await status(world)).toMatchObject({ enriched: 3 });
    const broken = () => Promise.reject(new Error('out of reach'));
    for (const name of ['claimWork', 'claimStaleIntents', 'claimEndedBatches', 'claimSweeps'] as const) {
      replaceCall(worker, name, broken);
    }
    for (const job of jobs) await expect(job.runOnce(worker, options())).rejects.toThrow('out of reach');
    expect(ends.length).toBeGreaterThanOrEqual(8);
    for (const end of ends) expect(end).toHaveBeenCalled();
    expect(await worker.store.renewLeases()).toBe(0);
  });
});
