import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as submit from '../../src/jobs/submit.ts';
import type { InputRow } from '../../src/pipeline/pipeline.ts';
import type { Lease } from '../../src/store/store.ts';
import { submitWork, type Work } from '../../src/submission/submit-work.ts';
import {
  batches,
  batchStates,
  chunkStates,
  failures,
  type JobWorld,
  options,
  passTime,
  queue,
  startJobWorld,
  status,
  submitted,
} from '../jobs/job-world.ts';
import { providerError } from '../support/fake-provider.ts';
import { queuedKeys } from '../support/sql-factories.ts';

describe('taking a chunk to the provider', () => {
  let world: JobWorld;
  const signal = new AbortController().signal;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { filter: 'note is null', max_attempts: 2 } });
  });
  afterEach(() => world.stop());

  async function claim(): Promise<[Lease, Work]> {
    const lease = await world.worker.store.takeLease();
    const [chunk] = await lease.claimWork(1);
    const { chunk_id: chunkId, pipeline_id: pipelineId, row_count: rowCount } = chunk!;
    return [lease, { pipelineId, chunks: [{ chunkId, rowCount, rows: null }] }];
  }

  /** The same work, with rows that came along. */
  const withRows = ({ pipelineId, chunks }: Work, rows: InputRow[]): Work => ({
    pipelineId,
    chunks: [{ ...chunks[0]!, rows }],
  });

  it.each([
    ['deleted', 'delete from films'],
    ['filtered out', "update films set note = 'x'"],
  ])('a chunk whose rows are all %s is closed without a batch', async (_what, change) => {
    await queue(world, 1, 5);
    await world.sql.unsafe(change);
    expect(await submitWork(world.worker, ...(await claim()), signal)).toBe('empty');
    expect(await chunkStates(world)).toEqual(['done']);
    expect(await batches(world)).toHaveLength(0);
    expect(world.fake.calls).toEqual([]);
  });

  it('a chunk whose rows are in flight elsewhere is closed without a batch', async () => {
    await submitted(world, 1, 5);
    await world.sql`select rowmill.backfill('films')`;
    await world.sql`select rowmill.tick()`;
    await world.sql`select rowmill.flush('films')`;
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 1, submitted: 0 });
    expect(await chunkStates(world)).toEqual(['batched', 'done']);
    expect(world.fake.called('createBatch')).toHaveLength(1);
  });

  it('a chunk that another worker took over meanwhile is left alone', async () => {
    await queue(world, 1, 5);
    const [lease, work] = await claim();
    await world.sql`update rowmill.chunks set owner = 'w2'`;
    expect(await submitWork(world.worker, lease, work, signal)).toBe('lost');
    expect(await world.sql`select state, owner from rowmill.chunks`).toMatchObject([
      { state: 'accepted', owner: 'w2' },
    ]);
    expect(world.fake.calls).toEqual([]);
  });

  it('rows that came along are sent as they came', async () => {
    await queue(world, 1, 2);
    const [lease, work] = await claim();
    const rows = await world.worker.store.readChunk(work.chunks[0]!.chunkId, 0, 2);
    await world.sql`update films set title = 'edited' where id = 1`;
    expect(await submitWork(world.worker, lease, withRows(work, rows), signal)).toBe('submitted');
    const [file] = [...world.fake.files.values()];
    expect(file!.toString()).toContain('film 1');
    expect(file!.toString()).not.toContain('edited');
  });

  it.each([false, true])(
    'what does not fit into one batch is queued again, in order (posted rows: %s)',
    async (isPosted) => {
      await queue(world, 1, 250);
      const [lease, work] = await claim();
      const rows = await world.worker.store.readChunk(work.chunks[0]!.chunkId, 0, 250);
      rows.sort((a, b) => a.n - b.n);
      const [lineBytes] = await lengthOfOneRequest(world);
      const result = await submitWork(world.worker, lease, isPosted ? withRows(work, rows) : work, signal, {
        bytes: lineBytes! * 120,
        requests: 50_000,
      });
      expect(result).toBe('submitted');
      const sent = world.fake.customIds().length;
      expect(sent).toBeGreaterThan(100);
      expect(sent).toBeLessThan(130);
      expect(world.fake.files.get([...world.fake.files.keys()][0]!)!.length).toBeLessThanOrEqual(
        lineBytes! * 120,
      );
      const queued = await queuedKeys(world.sql, work.pipelineId);
      expect(new Set(queued.map(String)).size).toBe(250 - sent);
      // Nothing that waits stands as in flight.
      expect(await world.sql`select from rowmill.chunk_rows`).toHaveLength(sent);
      await world.sql`select rowmill.flush('films')`;
      const worker = world.another('w2');
      for (let run = 0; run < 3; run += 1) await submit.runOnce(worker, options());
      const ids = [...world.fake.batches.keys()].flatMap((id) => world.fake.customIds(id));
      expect(ids).toHaveLength(250);
      expect(await status(world)).toMatchObject({ pending: 0, waiting: 0, in_flight: 250 });
    },
  );

  it('a row that is larger than any batch is named in row_failures, and its neighbours are sent', async () => {
    await queue(world, 1, 3);
    await world.sql`update films set title = repeat('long ', 10000) where id = 2`;
    expect(
      await submitWork(world.worker, ...(await claim()), signal, { bytes: 20_000, requests: 50_000 }),
    ).toBe('submitted');
    expect(world.fake.customIds()).toHaveLength(2);
    expect(await failures(world)).toMatchObject([
      { key: [2], error_class: 'invalid_request', is_final: true },
    ]);
  });

  it('a chunk of nothing but rows that cannot be sent ends without a batch', async () => {
    await queue(world, 1, 2);
    expect(await submitWork(world.worker, ...(await claim()), signal, { bytes: 10, requests: 50_000 })).toBe(
      'empty',
    );
    expect(await failures(world)).toHaveLength(2);
    expect(await chunkStates(world)).toEqual(['done']);
  });

  it.each([
    ['rejected', 400],
    ['rejected', 401],
    ['busy', 429],
    ['ambiguous', 500],
    ['ambiguous', null],
  ] as const)(
    'an upload that fails (%s, %s) leaves the chunk waiting, without an attempt',
    async (kind, code) => {
      await queue(world, 1, 3);
      world.fake.before.uploadFile = () => {
        throw providerError(kind, code === null ? {} : { status: code });
      };
      expect(await submitWork(world.worker, ...(await claim()), signal)).toBe('postponed');
      expect(await batchStates(world)).toEqual(['abandoned']);
      expect(await chunkStates(world)).toEqual(['waiting']);
      expect(await failures(world)).toHaveLength(0);
      expect((await status(world)).problem).toBe(`fake refuses work for now: the provider is ${kind}`);
      expect(world.fake.called('createBatch')).toHaveLength(0);
      delete world.fake.before.uploadFile;
      // Not in the same breath, but later, and then nothing is left of the problem.
      expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 0 });
      await passTime(world, '30 seconds');
      expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 1 });
      expect((await status(world)).problem).toBeNull();
    },
  );

  it.each([
    ['rejected', 401, undefined],
    ['rejected', 403, undefined],
    ['busy', 429, 'rate_limit_exceeded'],
  ] as const)(
    'a create that says nothing of the rows (%s %s %s) counts no attempt',
    async (kind, code, providerCode) => {
      await queue(world, 1, 3);
      world.fake.before.createBatch = () => {
        throw providerError(kind, { status: code, ...(providerCode ? { providerCode } : {}) });
      };
      // The whole pipeline waits, twice as long each time, ten minutes at most.
      for (const seconds of [20, 40, 80, 160, 320, 600, 600]) {
        expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 1, submitted: 0 });
        expect((await status(world)).waiting_reason).toContain(`the provider is ${kind}`);
        await passTime(world, `${seconds - 5} seconds`);
        expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 0 });
        await passTime(world, '6 seconds');
      }
      expect(await chunkStates(world)).toEqual(['waiting']);
      expect(await failures(world)).toHaveLength(0);
      expect((await status(world)).problem).toContain('fake refuses work for now');
      // The file of each try is gone again.
      expect(world.fake.files.size).toBe(0);
      delete world.fake.before.createBatch;
      expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 1 });
      expect(await status(world)).toMatchObject({ problem: null, waiting_reason: null, in_flight: 3 });
    },
  );

  it('a create for which the queue is full counts no attempt, and the model is left alone for a while', async () => {
    await queue(world, 1, 3);
    world.fake.before.createBatch = () => {
      throw providerError('busy', { status: 400, providerCode: 'token_limit_exceeded' });
    };
    for (let run = 0; run < 6; run += 1) {
      expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 0 });
      expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 0 });
      expect(await status(world)).toMatchObject({
        problem: null,
        waiting_reason: expect.stringContaining('queue for gpt-4o-mini is full'),
      });
      await passTime(world);
      // It has tried something, each time, however little is thought to fit.
      expect(world.fake.called('createBatch')).toHaveLength(run + 1);
    }
    expect(await failures(world)).toHaveLength(0);
    expect(world.fake.files.size).toBe(0);
    delete world.fake.before.createBatch;
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 1 });
  });

  it('a create for which there is no money pauses the pipeline, and counts no attempt', async () => {
    await queue(world, 1, 3);
    world.fake.before.createBatch = () => {
      throw providerError('busy', { status: 429, providerCode: 'insufficient_quota' });
    };
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 1, submitted: 0 });
    expect(await status(world)).toMatchObject({
      state: 'paused',
      state_reason: expect.stringContaining('quota_exhausted'),
    });
    expect((await status(world)).problem).toContain('fake refuses work for now');
    expect(await chunkStates(world)).toEqual(['waiting']);
    expect(await failures(world)).toHaveLength(0);
    expect(world.fake.files.size).toBe(0);
    await passTime(world);
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 0 });
    delete world.fake.before.createBatch;
    await world.sql`select rowmill.resume_pipeline('films')`;
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 1 });
  });

  it.each([400, 404, 413, 422])(
    'a batch refused with %s is sent again, then its rows stand in row_failures',
    async (code) => {
      await queue(world, 1, 3);
      world.fake.before.createBatch = () => {
        throw providerError('rejected', { status: code });
      };
      expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 1, submitted: 0 });
      expect(await batchStates(world)).toEqual(['rejected']);
      expect(await failures(world)).toMatchObject(
        [1, 2, 3].map((id) => ({
          key: [id],
          error_class: 'batch_rejected',
          code: String(code),
          attempts: 1,
          is_final: false,
        })),
      );
      await passTime(world);
      await world.sql`select rowmill.flush('films')`;
      await submit.runOnce(world.worker, options());
      expect(await world.sql`select attempts from rowmill.row_failures`).toMatchObject([
        { attempts: 2 },
        { attempts: 2 },
        { attempts: 2 },
      ]);
      expect(await status(world)).toMatchObject({ pending: 0, waiting: 0, failed: 3 });
      expect(world.fake.files.size).toBe(0);
    },
  );

  it('a file that cannot be deleted after a refusal changes nothing about the rows', async () => {
    await queue(world, 1, 3);
    world.fake.before.createBatch = () => {
      throw providerError('rejected', { status: 400 });
    };
    world.fake.before.deleteFile = () => {
      throw providerError('ambiguous');
    };
    expect(await submitWork(world.worker, ...(await claim()), signal)).toBe('rejected');
    expect(await batchStates(world)).toEqual(['rejected']);
  });

  it('a batch whose intent was taken over during the upload is not created', async () => {
    await queue(world, 1, 3);
    world.fake.after.uploadFile = async () => {
      await world.sql`update rowmill.batch_processing_details set owner = 'w2'`;
    };
    expect(await submitWork(world.worker, ...(await claim()), signal)).toBe('lost');
    expect(world.fake.called('createBatch')).toHaveLength(0);
    expect(world.fake.files.size).toBe(0);
  });

  it('is not begun once the signal is aborted', async () => {
    await queue(world, 1, 3);
    const [lease, work] = await claim();
    expect(await submitWork(world.worker, lease, work, AbortSignal.abort())).toBe('postponed');
    expect(await chunkStates(world)).toEqual(['waiting']);
    expect(await batches(world)).toHaveLength(0);
  });
});

/** Bytes of the longest line that these films make. */
async function lengthOfOneRequest(world: JobWorld): Promise<number[]> {
  const { compileRequestLine } = await import('../../src/pipeline/request-line.ts');
  const definition = await world.worker.store.getPipeline(1);
  const row = { n: 249, hash: '0123456789abcdef', input: { title: 'film 250' }, scale: 1 };
  const written = compileRequestLine(definition!)(1, row);
  if ('problem' in written) throw new Error(written.problem.message);
  return [Buffer.byteLength(written.line) + 1];
}
