import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as poll from '../../src/jobs/poll.ts';
import { answers, batchStates, type JobWorld, options, startJobWorld, submitted } from './job-world.ts';

describe('a batch that ends after a look has read its state', () => {
  let world: JobWorld;
  let ids: string[];
  beforeEach(async () => {
    world = await startJobWorld();
    await world.sql`update rowmill.settings set poll_every = '1 hour'`;
    ids = await submitted(world, 1, 2);
  });
  afterEach(() => world.stop());

  /** What happens between the provider's answer and its being recorded. */
  function meanwhile(work: () => Promise<unknown>): void {
    world.fake.after.retrieveBatch = async () => {
      delete world.fake.after.retrieveBatch;
      world.fake.end('completed', { output: answers(ids) });
      await work();
    };
  }

  it('is looked at once more at once, by whoever comes, where a webhook told of it meanwhile', async () => {
    const other = world.another('w2');
    meanwhile(async () => expect(await other.store.noteWebhook('wh_1', 'batch_1')).toBe('due'));
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ polled: 1, ended: 0 });
    expect(await batchStates(world)).toEqual(['running']);
    expect(await poll.runOnce(other, options())).toMatchObject({ polled: 1, ended: 1 });
    expect(await batchStates(world)).toEqual(['ended']);
  });

  it('waits for its turn where nobody told', async () => {
    meanwhile(async () => {});
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ polled: 1, ended: 0 });
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ polled: 0 });
    expect(await batchStates(world)).toEqual(['running']);
  });
});
