import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as recover from '../../src/jobs/recover.ts';
import * as submit from '../../src/jobs/submit.ts';
import {
  aborted,
  batches,
  batchStates,
  chunkStates,
  type JobWorld,
  options,
  passTime,
  queue,
  startJobWorld,
  status,
} from './job-world.ts';

describe('the submit job', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5 } });
  });
  afterEach(() => world.stop());

  it('fetches chunks that nobody posted and makes a batch of each', async () => {
    await queue(world, 1, 7);
    expect(await submit.runOnce(world.worker, options())).toEqual({
      fetched: 2,
      submitted: 2,
      more: 0,
    });
    expect(await batchStates(world)).toEqual(['running', 'running']);
    expect(await chunkStates(world)).toEqual(['batched', 'batched']);
    // Both are on their way at once; which comes first is open.
    const made = await batches(world);
    expect(made.map((batch) => batch.requests).sort()).toEqual([2, 5]);
    for (const batch of made) {
      expect(batch).toMatchObject({ provider_status: 'in_progress', owner: null });
      expect(world.fake.batches.get(batch.provider_batch_id)!.metadata).toEqual({
        rowmill_key: batch.key,
        rowmill_batch: String(batch.id),
        rowmill_pipeline: 'films',
      });
    }
    expect(new Set(['batch_1', 'batch_2'].flatMap((id) => world.fake.customIds(id))).size).toBe(7);
  });

  it('runs twice harmlessly', async () => {
    await queue(world, 1, 5);
    await submit.runOnce(world.worker, options());
    await passTime(world);
    expect(await submit.runOnce(world.worker, options())).toMatchObject({
      fetched: 0,
      submitted: 0,
    });
    expect(world.fake.called('createBatch')).toHaveLength(1);
  });

  it('leaves a posted chunk to whoever it was posted to until fetch_after has gone by', async () => {
    await queue(world, 1, 5);
    await world.sql`update rowmill.chunks set posted_at = now(), posts = 1`;
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 0 });
    await passTime(world, '19 seconds');
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 0 });
    await passTime(world, '2 seconds');
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 1, submitted: 1 });
  });

  it('two workers at once share the chunks and send none twice', async () => {
    await queue(world, 1, 60);
    const workers = [world.worker, world.another('w2')];
    const runs = await Promise.all(workers.map((worker) => submit.runOnce(worker, options({ limit: 12 }))));
    expect(runs.reduce((sum, run) => sum + run.submitted!, 0)).toBe(12);
    expect(world.fake.called('createBatch')).toHaveLength(12);
    const ids = [...world.fake.batches.keys()].flatMap((id) => world.fake.customIds(id));
    expect(new Set(ids).size).toBe(60);
    expect(ids).toHaveLength(60);
  });

  it('takes no more chunks than its limit, the oldest first, and says that there is more', async () => {
    await queue(world, 1, 15);
    expect(await submit.runOnce(world.worker, options({ limit: 2 }))).toMatchObject({ fetched: 2, more: 1 });
    expect(await chunkStates(world)).toEqual(['batched', 'batched', 'waiting']);
  });

  it('takes nothing once the signal is aborted', async () => {
    await queue(world, 1, 5);
    expect(await submit.runOnce(world.worker, aborted())).toEqual({
      fetched: 0,
      submitted: 0,
      more: 0,
    });
    expect(await chunkStates(world)).toEqual(['waiting']);
    expect(world.fake.calls).toEqual([]);
  });

  it('gives fetched chunks back untouched where the service stops before their turn', async () => {
    const abort = new AbortController();
    const worker = world.another('stopping', { signal: abort.signal });
    await queue(world, 1, 20);
    world.fake.before.uploadFile = () => abort.abort(new Error('the service stops'));
    const counts = await submit.runOnce(worker, options({ signal: abort.signal }));
    expect(counts).toMatchObject({ fetched: 4, more: 0 });
    const states = await chunkStates(world);
    expect(states).not.toContain('accepted');
    expect(states.filter((state) => state === 'waiting').length).toBeGreaterThanOrEqual(2);
    // Nothing speaks of a stop as if something were wrong.
    expect(await status(world)).toMatchObject({ problem: null });
  });

  it('leaves the chunks of a paused pipeline where they are', async () => {
    await queue(world, 1, 5);
    await world.sql`select rowmill.pause_pipeline('films')`;
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 0 });
    await world.sql`select rowmill.resume_pipeline('films')`;
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 1 });
  });

  it('a chunk fetched before its pipeline was dropped is not sent', async () => {
    await queue(world, 1, 5);
    const lease = await world.worker.store.takeLease();
    const [chunk] = await lease.claimWork(1);
    await world.sql`select rowmill.drop_pipeline('films')`;
    const { chunk_id: chunkId, pipeline_id: pipelineId, row_count: rowCount } = chunk!;
    const taken = { pipelineId, chunks: [{ chunkId, rowCount, rows: null }] };
    expect(await world.worker.submission.submit(lease, taken, 0)).toBe('lost');
    expect(world.fake.calls).toEqual([]);
  });

  describe('with a store that fails at one step', () => {
    const broken = () => Promise.reject(new Error('the store is out of reach'));

    it.each(['getPipeline', 'readChunk', 'holdRows', 'beginBatch'] as const)(
      '%s: the chunk waits again, and the next run sends it',
      async (step) => {
        await queue(world, 1, 5);
        const worker = world.another('broken', { store: { [step]: broken }, leased: { [step]: broken } });
        expect(await submit.runOnce(worker, options())).toMatchObject({ fetched: 1, submitted: 0, more: 0 });
        expect(await chunkStates(world)).toEqual(['waiting']);
        expect((await status(world)).problem).toContain('out of reach');
        expect(await world.sql`select from rowmill.chunk_rows`).toHaveLength(0);
        await passTime(world);
        expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 1 });
        expect((await status(world)).problem).toBeNull();
      },
    );

    it.each(['noteInputFile', 'startBatch'] as const)(
      '%s: a worker that lives on does not keep the intent, and no second batch is created',
      async (step) => {
        await queue(world, 1, 5);
        const worker = world.another('broken', { store: { [step]: broken }, leased: { [step]: broken } });
        await submit.runOnce(worker, options());
        expect(await batches(world)).toMatchObject([{ state: 'preparing', owner: null }]);
        // It renews its leases all the time, and this is none of them.
        expect(await worker.store.renewLeases()).toBe(0);
        await passTime(world, '1 minute');
        await recover.runOnce(world.worker, options());
        await age(world, step);
        await recover.runOnce(world.worker, options());
        await passTime(world, '1 minute');
        await submit.runOnce(world.worker, options());
        expect(world.fake.called('createBatch')).toHaveLength(1);
        expect((await batchStates(world)).at(-1)).toBe('running');
      },
    );
  });
});

/** Only an intent that never reached createBatch has to grow old before its work is sent. */
async function age(world: JobWorld, step: string): Promise<void> {
  if (step !== 'noteInputFile') return;
  await world.sql`update rowmill.batch_processing_details set created_at = created_at - interval '1 hour', uploaded_at = uploaded_at - interval '1 hour', lease_until = now() - interval '1 second'`;
}
