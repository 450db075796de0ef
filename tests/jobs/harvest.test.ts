import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import { answerLine, jsonl, providerError } from '../support/fake-provider.ts';
import {
  aborted,
  answers,
  batches,
  batchStates,
  chunkStates,
  ended,
  type JobWorld,
  options,
  passTime,
  replaceCall,
  startJobWorld,
  status,
  submitted,
  summaries,
} from './job-world.ts';

describe('the harvest job', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5000 } });
  });
  afterEach(() => world.stop());

  /** Several batches of one film each, all ended. */
  async function endSeveral(count: number): Promise<void> {
    for (let film = 1; film <= count; film += 1) {
      const ids = await submitted(world, film, film);
      await ended(world, 'completed', { output: answers(ids) });
    }
  }

  it('writes the answers, accounts for them, and leaves no file at the provider', async () => {
    const ids = await submitted(world, 1, 3);
    await ended(world, 'completed', { output: jsonl(ids.map((id, at) => answerLine(id, `summary ${at}`))) });
    expect(await harvest.runOnce(world.worker, options())).toEqual({
      claimed: 1,
      harvested: 1,
      failed: 0,
      more: 0,
    });
    expect((await summaries(world)).sort()).toEqual(['summary 0', 'summary 1', 'summary 2']);
    expect(await batches(world)).toMatchObject([
      { state: 'done', rows_enriched: 3, rows_failed: 0, input_tokens: 30, output_tokens: 15, owner: null },
    ]);
    expect(await chunkStates(world)).toEqual(['done']);
    expect(await world.sql`select from rowmill.chunk_rows`).toHaveLength(0);
    expect(world.fake.files.size).toBe(0);
    expect(await world.worker.metrics.rows.get()).toMatchObject({
      values: expect.arrayContaining([{ labels: { outcome: 'enriched' }, value: 3 }]),
    });
  });

  it('hurries where it gave no trouble, and has patience where it did', async () => {
    await endSeveral(1);
    world.fake.before.downloadFile = () => {
      throw providerError('ambiguous');
    };
    const run = (again: boolean) => harvest.runOnce(world.worker, { ...options(), again });
    expect(await run(false)).toMatchObject({ failed: 1 });
    delete world.fake.before.downloadFile;
    await passTime(world);
    expect(await run(false)).toMatchObject({ claimed: 0 });
    expect(await run(true)).toMatchObject({ harvested: 1 });
    expect(world.fake.hurried).toEqual([true, false]);
    expect(await batches(world)).toMatchObject([{ state: 'done', tries: 0 }]);
  });

  it('runs twice harmlessly', async () => {
    await endSeveral(1);
    await harvest.runOnce(world.worker, options());
    expect(await harvest.runOnce(world.worker, options())).toEqual({
      claimed: 0,
      harvested: 0,
      failed: 0,
      more: 0,
    });
    expect(await status(world)).toMatchObject({ enriched: 1 });
  });

  it('two workers at once share the batches, and each answer is applied once', async () => {
    await endSeveral(8);
    const runs = await Promise.all(
      [world.worker, world.another('w2')].map((worker) => harvest.runOnce(worker, options())),
    );
    expect(runs[0]!.harvested! + runs[1]!.harvested!).toBe(8);
    expect(world.fake.called('downloadFile')).toHaveLength(8);
    expect(await status(world)).toMatchObject({ enriched: 8, input_tokens: 80 });
  });

  it('takes no more batches than its limit, and says that there may be more', async () => {
    await endSeveral(3);
    expect(await harvest.runOnce(world.worker, options({ limit: 2 }))).toMatchObject({
      claimed: 2,
      harvested: 2,
      more: 1,
    });
    expect(await batchStates(world)).toEqual(['done', 'done', 'ended']);
  });

  it('takes nothing once the signal is aborted', async () => {
    await endSeveral(1);
    expect(await harvest.runOnce(world.worker, aborted())).toEqual({
      claimed: 0,
      harvested: 0,
      failed: 0,
      more: 0,
    });
    expect(await batches(world)).toMatchObject([{ state: 'ended', owner: null }]);
  });

  it('takes no batch whose turn has not come when the service stops', async () => {
    await endSeveral(5);
    const abort = new AbortController();
    world.fake.before.downloadFile = () => abort.abort(new Error('the service stops'));
    const counts = await harvest.runOnce(world.worker, options({ signal: abort.signal }));
    expect(counts.claimed).toBeLessThanOrEqual(3);
    const after = await batches(world);
    expect(after.filter((batch) => batch.owner !== null)).toEqual([]);
    expect(after.filter((batch) => batch.state === 'ended').length).toBeGreaterThanOrEqual(2);
    delete world.fake.before.downloadFile;
    await passTime(world, '20 seconds');
    await harvest.runOnce(world.another('w2'), options());
    expect(await batchStates(world)).toEqual(Array(5).fill('done'));
  });

  it('stops between two slices when the service stops, without calling that a problem', async () => {
    const ids = await submitted(world, 1, 2500);
    await ended(world, 'completed', { output: answers(ids) });
    const abort = new AbortController();
    const worker = world.another('stopping');
    replaceCall(worker, 'applyResults', (applyResults, ...args) => {
      abort.abort(new Error('the service stops'));
      return applyResults(...args);
    });
    expect(await harvest.runOnce(worker, options({ signal: abort.signal }))).toMatchObject({ failed: 1 });
    expect(await status(world)).toMatchObject({ enriched: 1000, problem: null });
    expect(await batches(world)).toMatchObject([{ state: 'ended', owner: null }]);
    await passTime(world, '20 seconds');
    await harvest.runOnce(world.worker, options());
    expect(await status(world)).toMatchObject({ enriched: 2500, input_tokens: 25_000 });
    expect((await batches(world))[0]).toMatchObject({ lines_duplicate: 0 });
  });

  it('a store that fails mid-file is taken up where it was, and the problem is gone with it', async () => {
    const ids = await submitted(world, 1, 2500);
    await ended(world, 'completed', { output: answers(ids) });
    const broken = world.another('broken');
    let slices = 0;
    replaceCall(broken, 'applyResults', async (applyResults, ...args) => {
      slices += 1;
      if (slices === 2) throw new Error('the store is out of reach');
      return await applyResults(...args);
    });
    expect(await harvest.runOnce(broken, options())).toMatchObject({ harvested: 0, failed: 1, more: 0 });
    expect(await status(world)).toMatchObject({ enriched: 1000, problem: 'the store is out of reach' });
    // Not at once, but a quarter of a minute later, and by anybody.
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ claimed: 0 });
    await passTime(world, '20 seconds');
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ harvested: 1 });
    expect(await status(world)).toMatchObject({ enriched: 2500, input_tokens: 25_000, problem: null });
    expect(await batches(world)).toMatchObject([{ state: 'done', lines_duplicate: 0, lines_unknown: 0 }]);
  });

  it('the file of a worker that died in the middle is taken up where it was', async () => {
    const ids = await submitted(world, 1, 2500);
    await ended(world, 'completed', { output: answers(ids) });
    const dead = world.another('dead');
    let slices = 0;
    let die = () => {};
    const death = new Promise<void>((resolve) => {
      die = resolve;
    });
    replaceCall(dead, 'applyResults', (applyResults, ...args) => {
      slices += 1;
      if (slices < 3) return applyResults(...args);
      die();
      return new Promise(() => {});
    });
    void harvest.runOnce(dead, options());
    await death;
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ claimed: 0 });
    await passTime(world, '3 minutes');
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ harvested: 1 });
    expect(await status(world)).toMatchObject({ enriched: 2500, input_tokens: 25_000, failed: 0 });
    expect((await batches(world))[0]).toMatchObject({ lines_duplicate: 0 });
  });

  it('a worker whose lease ran out in the middle writes nothing more, and hurts nobody', async () => {
    const ids = await submitted(world, 1, 2500);
    await ended(world, 'completed', { output: answers(ids) });
    const slow = world.another('slow');
    let slices = 0;
    replaceCall(slow, 'applyResults', async (applyResults, ...args) => {
      slices += 1;
      if (slices === 2) {
        await passTime(world, '3 minutes');
        await harvest.runOnce(world.worker, options());
      }
      return await applyResults(...args);
    });
    expect(await harvest.runOnce(slow, options())).toMatchObject({ harvested: 0, failed: 0 });
    expect(await status(world)).toMatchObject({ enriched: 2500, input_tokens: 25_000, problem: null });
    expect(await batches(world)).toMatchObject([{ state: 'done', lines_duplicate: 0 }]);
  });

  it('a batch that somebody else holds by now is left to them', async () => {
    const ids = await submitted(world, 1, 3);
    await ended(world, 'completed', { output: answers(ids) });
    const another = world.another('w2');
    world.fake.before.downloadFile = async () => {
      await passTime(world, '3 minutes');
      await (await another.store.takeLease()).claimEndedBatches(1);
    };
    const once = options({ limit: 1 });
    expect(await harvest.runOnce(world.worker, once)).toMatchObject({ harvested: 0, failed: 0 });
    expect(await summaries(world)).toEqual([null, null, null]);
    expect(await batches(world)).toMatchObject([{ state: 'ended', owner: 'w2/1', output_position: 0 }]);
  });

  it('a slice that comes twice is applied once', async () => {
    const ids = await submitted(world, 1, 3);
    await ended(world, 'completed', { output: answers(ids) });
    const worker = world.another('w2');
    replaceCall(worker, 'applyResults', async (applyResults, ...args) => {
      const counts = await applyResults(...args);
      expect(await applyResults(...args)).toBeNull();
      return counts;
    });
    expect(await harvest.runOnce(worker, options())).toMatchObject({ harvested: 1, failed: 0 });
    expect(await batches(world)).toMatchObject([{ rows_enriched: 3, lines_duplicate: 0, input_tokens: 30 }]);
  });

  it('a slice whose answer from the store is lost is not applied again', async () => {
    const ids = await submitted(world, 1, 3);
    await ended(world, 'completed', { output: answers(ids) });
    const worker = world.another('w2');
    replaceCall(worker, 'applyResults', async (applyResults, ...args) => {
      await applyResults(...args);
      throw new Error('the connection broke');
    });
    expect(await harvest.runOnce(worker, options())).toMatchObject({ harvested: 0, failed: 1 });
    await passTime(world, '20 seconds');
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ harvested: 1 });
    expect(await batches(world)).toMatchObject([{ rows_enriched: 3, lines_duplicate: 0, input_tokens: 30 }]);
  });

  it.each(['finishHarvest', 'finishBatch'] as const)(
    'a crash at %s is made good by the next run',
    async (step) => {
      await endSeveral(1);
      const broken = world.another('broken', {
        leased: { [step]: () => Promise.reject(new Error('out of reach')) },
      });
      expect(await harvest.runOnce(broken, options())).toMatchObject({ failed: 1 });
      await passTime(world, '20 seconds');
      await harvest.runOnce(world.worker, options());
      expect(await batchStates(world)).toEqual(['done']);
      expect(await status(world)).toMatchObject({ enriched: 1, problem: null });
    },
  );

  it('a batch that cannot be harvested keeps no other from it', async () => {
    await endSeveral(3);
    const [first] = await batches(world);
    world.fake.before.downloadFile = (id) => {
      if (id === first!.output_file_id) throw providerError('ambiguous', { status: 502 });
    };
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({
      harvested: 2,
      failed: 1,
      more: 0,
    });
    expect(await batchStates(world)).toEqual(['ended', 'done', 'done']);
  });

  it('takes no batch whose turn has not come when the store fails', async () => {
    await endSeveral(5);
    world.fake.before.downloadFile = () => {
      throw providerError('ambiguous');
    };
    const notePipelineProblem = () => Promise.reject(new Error('out of reach'));
    const broken = world.another('broken', { store: { notePipelineProblem } });
    await expect(harvest.runOnce(broken, options())).rejects.toThrow('out of reach');
    expect((await batches(world)).map((batch) => batch.owner)).toEqual(Array(5).fill(null));
    expect(world.fake.called('downloadFile').length).toBeLessThanOrEqual(3);
  });

  it('a batch that could not be let go of is not renewed, and whoever finds its lease run out goes on', async () => {
    await endSeveral(1);
    const { store } = world.worker;
    world.fake.before.downloadFile = () => {
      throw providerError('ambiguous');
    };
    await world.sql`alter function rowmill.let_go_of_batch(bigint, text, text) rename to out_of_order`;
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ failed: 1 });
    await world.sql`alter function rowmill.out_of_order(bigint, text, text) rename to let_go_of_batch`;
    const [held] = await batches(world);
    expect(held).toMatchObject({ state: 'ended', owner: expect.stringMatching(/^w1\/\d+$/) });
    expect(await store.renewLeases()).toBe(0);
    expect((await batches(world))[0]!.lease_until).toEqual(held!.lease_until);
    delete world.fake.before.downloadFile;
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ claimed: 0 });
    await passTime(world, '3 minutes');
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ harvested: 1 });
  });

  it('files are kept where settings.keep_files says so', async () => {
    await world.sql`update rowmill.settings set keep_files = true`;
    await endSeveral(1);
    await harvest.runOnce(world.worker, options());
    expect(await batchStates(world)).toEqual(['done']);
    expect(world.fake.called('deleteFile')).toEqual([]);
    expect(world.fake.files.size).toBe(2);
  });

  it('files that cannot be deleted are deleted later, and nothing is harvested again', async () => {
    await endSeveral(1);
    world.fake.before.deleteFile = () => {
      throw providerError('ambiguous', { status: 500 });
    };
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ harvested: 1, failed: 1 });
    expect(await batches(world)).toMatchObject([{ state: 'harvested', owner: null }]);
    // The rows are done: that is no problem of the pipeline's.
    expect(await status(world)).toMatchObject({ enriched: 1, problem: null });
    delete world.fake.before.deleteFile;
    await passTime(world, '20 seconds');
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({
      claimed: 1,
      harvested: 0,
      failed: 0,
    });
    expect(await batchStates(world)).toEqual(['done']);
    expect(world.fake.called('downloadFile')).toHaveLength(1);
    expect(world.fake.files.size).toBe(0);
  });
});
