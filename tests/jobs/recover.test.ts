import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as recover from '../../src/jobs/recover.ts';
import * as submit from '../../src/jobs/submit.ts';
import { providerError } from '../support/fake-provider.ts';
import {
  aborted,
  age,
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

describe('an intent whose create had no answer', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5 } });
    await queue(world, 1, 5);
  });
  afterEach(() => world.stop());

  /** The create was executed and its answer lost. */
  const loseAnswer = () => {
    world.fake.after.createBatch = () => {
      delete world.fake.after.createBatch;
      throw providerError('ambiguous');
    };
  };
  /** The create was lost, and nobody can tell. */
  const loseRequest = () => {
    world.fake.before.createBatch = () => {
      delete world.fake.before.createBatch;
      throw providerError('ambiguous', { status: 500 });
    };
  };

  it('stays, with its chunk, and is not looked at before a quarter of a minute', async () => {
    loseAnswer();
    expect(await submit.runOnce(world.worker, options())).toMatchObject({
      fetched: 1,
      submitted: 0,
      more: 0,
    });
    expect(await batches(world)).toMatchObject([
      { state: 'preparing', owner: null, problem: 'the provider is ambiguous' },
    ]);
    expect(await chunkStates(world)).toEqual(['batched']);
    await passTime(world, '10 seconds');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 0 });
    expect(world.fake.called('listBatches')).toHaveLength(0);
  });

  it('is adopted where the list has its key', async () => {
    loseAnswer();
    await submit.runOnce(world.worker, options());
    await passTime(world, '20 seconds');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 1 });
    expect(await batches(world)).toMatchObject([{ state: 'running', provider_batch_id: 'batch_1' }]);
    expect(world.fake.called('createBatch')).toHaveLength(1);
  });

  it('is created anew only after adopt_after, and its file is deleted', async () => {
    loseRequest();
    await submit.runOnce(world.worker, options());
    const [{ input_file_id: file }] = (await batches(world)) as unknown as [{ input_file_id: string }];
    for (let look = 0; look < 3; look += 1) {
      await passTime(world, '20 seconds');
      expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 0 });
    }
    expect(await batchStates(world)).toEqual(['preparing']);
    await age(world, '6 minutes');
    await passTime(world, '20 seconds');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 1 });
    expect(world.fake.called('deleteFile')).toEqual([file]);
    await passTime(world, '1 minute');
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 1 });
    expect(await batchStates(world)).toEqual(['abandoned', 'running']);
    expect(world.fake.batches.size).toBe(1);
  });

  it('is as old as its upload: before that, no create can have been sent', async () => {
    loseRequest();
    await submit.runOnce(world.worker, options());
    // An upload that took an hour.
    await world.sql`update rowmill.batch_processing_details set created_at = created_at - interval '1 hour'`;
    await passTime(world, '20 seconds');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 0 });
    expect(await batchStates(world)).toEqual(['preparing']);
  });

  it('is adopted, however old, where a late list has it', async () => {
    loseAnswer();
    world.fake.isListEmpty = true;
    await submit.runOnce(world.worker, options());
    await passTime(world, '20 seconds');
    await recover.runOnce(world.worker, options());
    world.fake.isListEmpty = false;
    await age(world, '1 day');
    await passTime(world, '20 seconds');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 1 });
    expect(await batchStates(world)).toEqual(['running']);
    expect(world.fake.called('createBatch')).toHaveLength(1);
  });

  it('is not created anew while the list cannot be read to its end', async () => {
    loseRequest();
    await submit.runOnce(world.worker, options());
    await age(world, '1 day');
    await passTime(world, '20 seconds');
    world.fake.before.listBatches = () => {
      throw providerError('ambiguous', { status: 502 });
    };
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 0 });
    expect(await batches(world)).toMatchObject([
      { state: 'preparing', owner: null, problem: 'the provider is ambiguous' },
    ]);
    delete world.fake.before.listBatches;
    await passTime(world, '20 seconds');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 1 });
  });

  it('is taken by one of two workers that look at once', async () => {
    loseAnswer();
    await submit.runOnce(world.worker, options());
    await passTime(world, '20 seconds');
    const runs = await Promise.all(
      [world.worker, world.another('w2')].map((worker) => recover.runOnce(worker, options())),
    );
    expect(runs.map((run) => run.recovered).sort()).toEqual([0, 1]);
    expect(world.fake.batches.size).toBe(1);
  });

  it('of a worker that died is taken up once its lease has run out, and not before', async () => {
    const dead = world.another('dead', { store: { startBatch: () => new Promise(() => {}) } });
    void submit.runOnce(dead, options());
    await expect.poll(() => world.fake.batches.size, { timeout: 20_000 }).toBe(1);
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 0 });
    await passTime(world, '3 minutes');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 1 });
    expect(await batches(world)).toMatchObject([{ state: 'running', provider_batch_id: 'batch_1' }]);
  });

  it('keeps no other from being settled where its file cannot be deleted', async () => {
    await queue(world, 6, 10);
    world.fake.before.createBatch = () => {
      throw providerError('ambiguous');
    };
    await submit.runOnce(world.worker, options());
    delete world.fake.before.createBatch;
    world.fake.before.deleteFile = () => {
      throw providerError('ambiguous', { status: 500 });
    };
    await age(world, '1 hour');
    await passTime(world, '20 seconds');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 2 });
    expect(await batchStates(world)).toEqual(['abandoned', 'abandoned']);
    expect(await chunkStates(world)).toEqual(['waiting', 'waiting']);
  });

  it('is not taken once the signal is aborted', async () => {
    loseAnswer();
    await submit.runOnce(world.worker, options());
    await passTime(world, '20 seconds');
    expect(await recover.runOnce(world.worker, aborted())).toEqual({ recovered: 0, more: 0 });
    expect(await batches(world)).toMatchObject([{ state: 'preparing', owner: null }]);
    expect(world.fake.called('listBatches')).toEqual([]);
  });

  it('is one of as many as the limit says, the oldest first, and there may be more', async () => {
    await queue(world, 6, 15);
    world.fake.after.createBatch = () => {
      throw providerError('ambiguous');
    };
    await submit.runOnce(world.worker, options());
    delete world.fake.after.createBatch;
    await passTime(world, '20 seconds');
    const two = options({ limit: 2 });
    expect(await recover.runOnce(world.worker, two)).toEqual({ recovered: 2, more: 1 });
    expect(await batchStates(world)).toEqual(['running', 'running', 'preparing']);
    expect(await recover.runOnce(world.worker, two)).toEqual({ recovered: 1, more: 0 });
    expect(await recover.runOnce(world.worker, two)).toEqual({ recovered: 0, more: 0 });
  });

  it('of a dropped pipeline is adopted all the same, so that its batch is cancelled', async () => {
    loseAnswer();
    await submit.runOnce(world.worker, options());
    await world.sql`select rowmill.drop_pipeline('films')`;
    await passTime(world, '20 seconds');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 1 });
    expect(await batches(world)).toMatchObject([{ state: 'running', cancel_asked: true }]);
    expect(await status(world).catch(() => undefined)).toBeUndefined();
  });
});
