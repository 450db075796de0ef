import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import * as poll from '../../src/jobs/poll.ts';
import * as recover from '../../src/jobs/recover.ts';
import * as submit from '../../src/jobs/submit.ts';
import * as sweep from '../../src/jobs/sweep.ts';
import { fileNameOf } from '../../src/submission/file-name.ts';
import { providerError } from '../support/fake-provider.ts';
import {
  aborted,
  age,
  answers,
  batches,
  batchStates,
  type JobWorld,
  options,
  passTime,
  queue,
  replaceCall,
  startJobWorld,
  status,
  submitted,
  summaries,
} from './job-world.ts';

describe('the sweep job', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5 } });
  });
  afterEach(async () => {
    vi.useRealTimers();
    await world.stop();
  });

  const run = (worker = world.worker) => sweep.runOnce(worker, options());
  const nothing = { swept: 0, strays: 0, files: 0, more: 0 };

  /** Films in as many intents as chunks, each given up because its upload had no answer; their files arrived. */
  async function loseUploads(from: number, to: number): Promise<void> {
    await queue(world, from, to);
    world.fake.after.uploadFile = () => {
      throw providerError('ambiguous');
    };
    // The provider took none; the next is tried all the same, as by a worker that began it before it knew.
    replaceCall(world.worker, 'abandonBatch', async (abandon, ...args) => {
      const isAbandoned = await abandon(...args);
      await world.sql`update rowmill.pipelines set wait_until = null`;
      return isAbandoned;
    });
    await submit.runOnce(world.worker, options());
    delete world.fake.after.uploadFile;
    delete world.worker.leased.abandonBatch;
  }
  /** An intent that was given up, since its create had no answer and the list did not have it; returns what was asked. */
  async function loseCreate(): Promise<{ key: string; fileId: string; customIds: string[] }> {
    await queue(world, 1, 3);
    world.fake.before.createBatch = () => {
      delete world.fake.before.createBatch;
      throw providerError('ambiguous');
    };
    await submit.runOnce(world.worker, options());
    const [batch] = await batches(world);
    const { key, input_file_id: fileId } = batch as unknown as { key: string; input_file_id: string };
    const lines = world.fake.files.get(fileId)!.toString().trimEnd().split('\n');
    await age(world, '1 hour');
    await passTime(world, '20 seconds');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 1 });
    expect(await batchStates(world)).toEqual(['abandoned']);
    return { key, fileId, customIds: lines.map((line) => JSON.parse(line).custom_id) };
  }
  const arriveLate = ({ key, fileId }: { key: string; fileId: string }) =>
    world.fake.createBatch({ inputFileId: fileId, metadata: { rowmill_key: key } });
  const passSweepTime = async (time: string) => {
    await world.sql`
      update rowmill.batch_processing_details
      set done_at = done_at - ${time}::text::interval, sweep_at = sweep_at - ${time}::text::interval`;
  };

  it('asks the provider nothing where nothing was given up', async () => {
    await submitted(world, 1, 3);
    world.fake.calls.length = 0;
    expect(await run()).toEqual(nothing);
    expect(world.fake.calls).toEqual([]);
  });

  it('deletes, by its name, the file of an upload that broke off after its effect', async () => {
    await loseUploads(1, 3);
    const [batch] = await batches(world);
    expect(batch).toMatchObject({ state: 'abandoned', input_file_id: null });
    expect([...world.fake.names.values()]).toEqual([fileNameOf(batch!.key)]);
    expect(await run()).toEqual({ swept: 1, strays: 0, files: 1, more: 0 });
    expect(world.fake.files.size).toBe(0);
  });

  it('deletes no file of another name, of another installation, or of a batch that lives', async () => {
    await submitted(world, 1, 3);
    const kept = ['', 'films.jsonl', 'rowmill-.jsonl', fileNameOf('a key of another installation')];
    for (const name of kept) world.fake.addFile('x', name);
    await loseUploads(11, 13);
    const [running, givenUp] = await batches(world);
    kept.push(fileNameOf(running!.key), `${fileNameOf(givenUp!.key)}.bak`, `x${fileNameOf(givenUp!.key)}`);
    for (const name of kept.slice(-2)) world.fake.addFile('x', name);
    expect(await run()).toMatchObject({ swept: 1, files: 1 });
    const left = [...world.fake.files.keys()].map((id) => world.fake.names.get(id));
    expect(left.sort()).toEqual(kept.sort());
  });

  it('searches once more when adopt_after has passed since the intent was given up, and then no more', async () => {
    await loseUploads(1, 3);
    expect(await run()).toMatchObject({ swept: 1, files: 1 });
    expect(await run()).toEqual(nothing);
    await passSweepTime('4 minutes 50 seconds');
    expect(await run()).toEqual(nothing);
    // An upload that took effect only now.
    const [{ key }] = (await batches(world)) as unknown as [{ key: string }];
    world.fake.addFile('x', fileNameOf(key));
    await passSweepTime('20 seconds');
    expect(await run()).toEqual({ swept: 1, strays: 0, files: 1, more: 0 });
    expect(world.fake.files.size).toBe(0);
    await passSweepTime('1 day');
    expect(await run()).toEqual(nothing);
    expect(await batches(world)).toMatchObject([{ sweep_at: null, owner: null, lease_until: null }]);
  });

  it('searches no second time where the first came late enough', async () => {
    await loseUploads(1, 3);
    await passSweepTime('6 minutes');
    expect(await run()).toMatchObject({ swept: 1, files: 1 });
    expect(await batches(world)).toMatchObject([{ sweep_at: null, owner: null }]);
  });

  it('searches again where the search began too early, however late it ended', async () => {
    await loseUploads(1, 3);
    await passSweepTime('4 minutes 50 seconds');
    // The file came, and was listed, early; a list of many pages took its time.
    vi.useFakeTimers({ toFake: ['performance'] });
    world.fake.before.listFiles = async () => {
      delete world.fake.before.listFiles;
      vi.advanceTimersByTime(20_000);
      await passSweepTime('20 seconds');
    };
    expect(await run()).toMatchObject({ swept: 1 });
    const [{ sweep_at: at }] = (await batches(world)) as unknown as [{ sweep_at: Date | null }];
    expect(at).not.toBeNull();
    expect(await run()).toMatchObject({ swept: 1 });
    expect(await batches(world)).toMatchObject([{ sweep_at: null }]);
  });

  describe('a batch that was created after its intent had been given up', () => {
    it('is cancelled, accounted for, and leaves neither file nor trace in its rows, which are asked once elsewhere', async () => {
      const lost = await loseCreate();
      await passTime(world, '30 seconds');
      expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 1 });
      const again = world.fake.customIds();
      const stray = await arriveLate(lost);
      world.fake.files.set(lost.fileId, Buffer.from('x'));
      await run();
      await passSweepTime('6 minutes');
      expect(await run()).toMatchObject({ strays: 0 });
      expect(await batches(world)).toMatchObject([
        { state: 'running', cancel_asked: true, provider_batch_id: stray.id, sweep_at: null },
        { state: 'running', cancel_asked: false },
      ]);
      await poll.runOnce(world.worker, options());
      expect(world.fake.called('cancelBatch')).toEqual([stray.id]);

      // Two of its requests had been executed.
      const output = answers(lost.customIds.slice(0, 2), 'of the stray');
      world.fake.end('cancelled', { id: stray.id, output });
      await poll.runOnce(world.worker, options());
      expect(await harvest.runOnce(world.worker, options())).toMatchObject({ harvested: 1, failed: 0 });
      expect(await batches(world)).toMatchObject([
        { state: 'done', rows_enriched: 0, rows_failed: 0, input_tokens: 20, output_tokens: 10 },
        { state: 'running' },
      ]);
      expect(await status(world)).toMatchObject({
        ...{ enriched: 0, in_flight: 3, pending: 0, failed: 0, retrying: 0, stale: 0, gone: 0 },
      });
      expect(await summaries(world)).toEqual([null, null, null]);

      world.fake.end('completed', { id: 'batch_1', output: answers(again) });
      await poll.runOnce(world.worker, options());
      await harvest.runOnce(world.worker, options());
      expect(await summaries(world)).toEqual(Array(3).fill('a summary'));
      expect(world.fake.files.size).toBe(0);
      expect(world.fake.called('createBatch')).toHaveLength(3);
    });

    it('keeps its file until it has ended', async () => {
      const lost = await loseCreate();
      await arriveLate(lost);
      world.fake.files.set(lost.fileId, Buffer.from('x'));
      world.fake.names.set(lost.fileId, fileNameOf(lost.key));
      expect(await run()).toMatchObject({ swept: 1, strays: 1, files: 0 });
      expect([...world.fake.files.keys()]).toEqual([lost.fileId]);
    });

    it('is found, too, where it comes only after the first search', async () => {
      const lost = await loseCreate();
      expect(await run()).toMatchObject({ swept: 1, strays: 0 });
      await arriveLate(lost);
      await passSweepTime('6 minutes');
      expect(await run()).toMatchObject({ swept: 1, strays: 1 });
      expect(await batches(world)).toMatchObject([{ state: 'running', cancel_asked: true }]);
    });

    it('is cancelled as well where its pipeline was dropped', async () => {
      const lost = await loseCreate();
      await world.sql`select rowmill.drop_pipeline('films')`;
      const { id } = await arriveLate(lost);
      await run();
      await poll.runOnce(world.worker, options());
      expect(world.fake.called('cancelBatch')).toEqual([id]);
      world.fake.end('cancelled', { output: answers(lost.customIds) });
      await poll.runOnce(world.worker, options());
      await harvest.runOnce(world.worker, options());
      expect(await batchStates(world)).toEqual(['done']);
      expect(world.fake.files.size).toBe(0);
    });

    it('is cancelled although it is not the only one: the second of a key goes at once', async () => {
      const lost = await loseCreate();
      await arriveLate(lost);
      await arriveLate(lost);
      expect(await run()).toMatchObject({ swept: 1, strays: 2 });
      expect(world.fake.called('cancelBatch')).toHaveLength(1);
      await poll.runOnce(world.worker, options());
      expect(world.fake.called('cancelBatch').sort()).toEqual(['batch_1', 'batch_2']);
    });
  });

  it('finds what a refused batch left, where its file could not be deleted', async () => {
    await queue(world, 1, 3);
    world.fake.before.createBatch = () => {
      throw providerError('rejected', { status: 400 });
    };
    world.fake.before.deleteFile = () => {
      throw providerError('ambiguous', { status: 500 });
    };
    await submit.runOnce(world.worker, options());
    expect(await batchStates(world)).toEqual(['rejected']);
    delete world.fake.before.deleteFile;
    expect(await run()).toMatchObject({ swept: 1, files: 1 });
    expect(world.fake.files.size).toBe(0);
    expect(await batchStates(world)).toEqual(['rejected']);
  });

  it('of an intent whose file went with the refusal looks for nothing', async () => {
    await queue(world, 1, 3);
    world.fake.before.createBatch = () => {
      throw providerError('rejected', { status: 400 });
    };
    await submit.runOnce(world.worker, options());
    expect(await run()).toEqual(nothing);
  });

  it.each(['listBatches', 'listFiles'] as const)(
    'where %s fails, deletes nothing that may be in use, and searches again',
    async (list) => {
      await loseUploads(1, 3);
      world.fake.before[list] = () => {
        throw providerError('ambiguous', { status: 502 });
      };
      await expect(run()).rejects.toThrow('the provider is ambiguous');
      expect(world.fake.called('deleteFile')).toEqual([]);
      delete world.fake.before[list];
      expect(await run()).toEqual(nothing);
      await passTime(world, '3 minutes');
      expect(await run()).toMatchObject({ swept: 1, files: 1 });
    },
  );

  it('tries no more files once three failed in a row, and searches for all of them again', async () => {
    await loseUploads(1, 30);
    world.fake.before.deleteFile = () => {
      throw providerError('ambiguous', { status: 502 });
    };
    expect(await run()).toMatchObject({ swept: 6, files: 0 });
    expect(world.fake.called('deleteFile')).toHaveLength(3);
    delete world.fake.before.deleteFile;
    await passTime(world, '3 minutes');
    expect(await run()).toMatchObject({ swept: 6, files: 6 });
    expect(world.fake.files.size).toBe(0);
  });

  it('reads the whole list, page after page', async () => {
    const lost = await loseCreate();
    await arriveLate(lost);
    for (let count = 0; count < 9; count += 1) {
      await world.fake.createBatch({ inputFileId: 'f', metadata: {} });
    }
    world.fake.pageSize = 2;
    expect(await run()).toMatchObject({ strays: 1 });
  });

  it('two workers at once share the intents, and each is searched for once', async () => {
    await loseUploads(1, 40);
    const workers = [world.worker, world.another('w2')];
    const runs = await Promise.all(workers.map((worker) => sweep.runOnce(worker, options({ limit: 4 }))));
    expect(runs.map((each) => each.swept)).toEqual([4, 4]);
    expect(runs.map((each) => each.files)).toEqual([4, 4]);
    expect(new Set(world.fake.called('deleteFile')).size).toBe(8);
    expect(world.fake.files.size).toBe(0);
  });

  it('runs twice harmlessly, and once more after a crash between two deletions', async () => {
    await loseUploads(1, 10);
    const dead = world.another('dead');
    dead.reached = (point) => {
      if (point === 'swept_file_deleted') throw new Error('the process dies');
    };
    await expect(run(dead)).rejects.toThrow('the process dies');
    expect(world.fake.files.size).toBe(1);
    await passTime(world, '3 minutes');
    expect(await run()).toMatchObject({ swept: 2, files: 1 });
    expect(await run()).toEqual(nothing);
  });

  it('a stray that is recorded when the process dies is cancelled all the same', async () => {
    const { id } = await arriveLate(await loseCreate());
    const dead = world.another('dead');
    dead.reached = (point) => {
      if (point === 'stray_recorded') throw new Error('the process dies');
    };
    await expect(run(dead)).rejects.toThrow('the process dies');
    await poll.runOnce(world.worker, options());
    expect(world.fake.called('cancelBatch')).toEqual([id]);
  });

  it('one file that cannot be deleted keeps no other, and is searched for again', async () => {
    await loseUploads(1, 15);
    const [, stubborn] = [...world.fake.files.keys()];
    world.fake.before.deleteFile = (id) => {
      if (id === stubborn) throw providerError('ambiguous', { status: 500 });
    };
    expect(await run()).toMatchObject({ swept: 3, files: 2 });
    expect([...world.fake.files.keys()]).toEqual([stubborn]);
    delete world.fake.before.deleteFile;
    await passTime(world, '3 minutes');
    expect(await run()).toMatchObject({ swept: 1, files: 1 });
  });

  it('takes no more intents than its limit, the oldest first, and says that there may be more', async () => {
    await loseUploads(1, 15);
    expect(await sweep.runOnce(world.worker, options({ limit: 2 }))).toMatchObject({ swept: 2, more: 1 });
    expect(await sweep.runOnce(world.worker, options({ limit: 2 }))).toMatchObject({ swept: 1, more: 0 });
  });

  it('does nothing once the signal is aborted', async () => {
    await loseUploads(1, 3);
    expect(await sweep.runOnce(world.worker, aborted())).toEqual(nothing);
    expect(await batches(world)).toMatchObject([{ owner: null }]);
  });
});
