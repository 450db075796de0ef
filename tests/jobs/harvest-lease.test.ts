import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RowmillError } from '../../src/errors.ts';
import * as harvest from '../../src/jobs/harvest.ts';
import {
  answers,
  batches,
  ended,
  type JobWorld,
  options,
  passTime,
  replaceCall,
  startJobWorld,
  status,
  submitted,
  type Worker,
} from './job-world.ts';

describe('a harvest whose lease is not sure any more', () => {
  let world: JobWorld;
  let worker: Worker;
  let abort: AbortController;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5000 } });
    worker = world.another('slow');
    abort = new AbortController();
    // The process has been asleep, or has not reached the database for as long as a lease lasts.
    const { signal } = abort;
    worker.leased.hold = {
      ...{ id: 'slow/1', durationMs: 120_000, signal },
      ...{ assertHeld: () => signal.throwIfAborted(), end: () => {} },
    };
  });
  afterEach(() => world.stop());

  const lose = () => abort.abort(new RowmillError('lease_lost', 'The lease slow/1 ran out.'));
  const goOn = async () => {
    await passTime(world, '3 minutes');
    return await harvest.runOnce(world.worker, options());
  };

  it('reads no further, without calling that a problem of the pipeline, and another goes on there', async () => {
    const ids = await submitted(world, 1, 2500);
    await ended(world, 'completed', { output: answers(ids) });
    replaceCall(worker, 'applyResults', async (applyResults, ...args) => {
      const counts = await applyResults(...args);
      lose();
      return counts;
    });
    expect(await harvest.runOnce(worker, options())).toMatchObject({ harvested: 0, failed: 1 });
    expect(await status(world)).toMatchObject({ enriched: 1000, problem: null });
    expect(await goOn()).toMatchObject({ harvested: 1 });
    expect(await status(world)).toMatchObject({ enriched: 2500, input_tokens: 25_000 });
    expect(await batches(world)).toMatchObject([{ state: 'done', lines_duplicate: 0 }]);
  });

  it('deletes no file: whoever has it now may be reading it', async () => {
    await ended(world, 'completed', { output: answers(await submitted(world, 1, 3)) });
    const files = world.fake.files.size;
    replaceCall(worker, 'finishHarvest', async (finishHarvest, ...args) => {
      const missing = await finishHarvest(...args);
      lose();
      return missing;
    });
    expect(await harvest.runOnce(worker, options())).toMatchObject({ harvested: 1, failed: 1 });
    expect(world.fake.called('deleteFile')).toEqual([]);
    expect(world.fake.files.size).toBe(files);
    expect(await batches(world)).toMatchObject([{ state: 'harvested' }]);
    expect(await goOn()).toMatchObject({ claimed: 1, failed: 0 });
    expect(world.fake.files.size).toBe(0);
    expect(await batches(world)).toMatchObject([{ state: 'done' }]);
  });
});
