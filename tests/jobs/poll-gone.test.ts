import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import * as poll from '../../src/jobs/poll.ts';
import * as submit from '../../src/jobs/submit.ts';
import { providerError } from '../support/fake-provider.ts';
import {
  answers,
  batches,
  failures,
  type JobWorld,
  options,
  passTime,
  startJobWorld,
  status,
  submitted,
  summaries,
} from './job-world.ts';

describe('a batch that the provider says it does not know', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld();
  });
  afterEach(() => world.stop());

  const look = () => poll.runOnce(world.worker, options());
  /** The batch gets older; so does what the provider has said of it. */
  async function pass(time: string): Promise<void> {
    await passTime(world, time);
    await world.sql`
      update rowmill.batch_processing_details
      set submitted_at = submitted_at - ${time}::text::interval, gone_since = gone_since - ${time}::text::interval`;
  }
  async function lose(): Promise<void> {
    await submitted(world, 1, 3);
    world.fake.before.retrieveBatch = (id) => {
      if (id === 'batch_1') throw providerError('rejected', { status: 404 });
    };
  }
  const state = async () => (await batches(world))[0]!.state;

  it('for an hour, when its day is over, ends without results, and its rows are tried again as missing', async () => {
    await lose();
    await pass('27 hours');
    expect(await look()).toMatchObject({ polled: 1, ended: 0, failed: 1 });
    await pass('61 minutes');
    expect(await look()).toMatchObject({ polled: 1, ended: 1, failed: 1 });
    expect(await batches(world)).toMatchObject([
      { state: 'ended', provider_status: 'gone', output_file_id: null, error_file_id: null },
    ]);
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ harvested: 1, failed: 0 });
    expect(await failures(world)).toMatchObject(
      [1, 2, 3].map((id) => ({ key: [id], error_class: 'missing', attempts: 1, is_final: false })),
    );
    expect(world.fake.called('downloadFile')).toEqual([]);
    // Its input file goes, as that of any other.
    expect(world.fake.files.size).toBe(0);

    await passTime(world);
    await world.sql`select rowmill.flush('films')`;
    await submit.runOnce(world.worker, options());
    world.fake.end('completed', { output: answers(world.fake.customIds()) });
    await look();
    await harvest.runOnce(world.worker, options());
    expect(await summaries(world)).toEqual(Array(3).fill('a summary'));
    expect(await status(world)).toMatchObject({ failed: 0, retrying: 0, in_flight: 0 });
  });

  it('runs on within its day, however long it has not been known: it may be at work', async () => {
    await lose();
    await look();
    for (const time of ['2 hours', '20 hours', '3 hours 50 minutes']) {
      await pass(time);
      expect(await look()).toMatchObject({ polled: 1, ended: 0, failed: 1 });
    }
    expect(await state()).toBe('running');
    await pass('11 minutes');
    expect(await look()).toMatchObject({ ended: 1 });
  });

  it('runs on, however old, until it has not been known for an hour', async () => {
    await lose();
    await pass('3 days');
    await look();
    await pass('59 minutes');
    expect(await look()).toMatchObject({ ended: 0, failed: 1 });
    expect(await state()).toBe('running');
    await pass('2 minutes');
    expect(await look()).toMatchObject({ ended: 1 });
  });

  it('and then does know again begins its hour anew', async () => {
    await submitted(world, 1, 3);
    await pass('3 days');
    const gone = () => {
      throw providerError('rejected', { status: 404 });
    };
    world.fake.before.retrieveBatch = gone;
    await look();
    await pass('50 minutes');
    delete world.fake.before.retrieveBatch;
    expect(await look()).toMatchObject({ failed: 0 });
    expect(await batches(world)).toMatchObject([{ gone_since: null, problem: null }]);
    world.fake.before.retrieveBatch = gone;
    await look();
    await pass('50 minutes');
    expect(await look()).toMatchObject({ ended: 0, failed: 1 });
    expect(await state()).toBe('running');
  });

  it.each([
    ['500', providerError('ambiguous', { status: 500 })],
    ['403', providerError('rejected', { status: 403 })],
    ['no answer', providerError('ambiguous')],
  ])('is not given up for any other failure: %s', async (_what, error) => {
    await submitted(world, 1, 3);
    await pass('3 days');
    world.fake.before.retrieveBatch = () => {
      throw error;
    };
    for (let times = 0; times < 3; times += 1) {
      expect(await look()).toMatchObject({ ended: 0, failed: 1 });
      await pass('2 hours');
    }
    expect(await batches(world)).toMatchObject([{ state: 'running', gone_since: null }]);
  });

  it('is not given up where some other failure came between', async () => {
    await lose();
    await pass('3 days');
    await look();
    await pass('50 minutes');
    const { retrieveBatch: gone } = world.fake.before;
    world.fake.before.retrieveBatch = () => {
      throw providerError('ambiguous', { status: 500 });
    };
    await look();
    world.fake.before.retrieveBatch = gone!;
    await pass('20 minutes');
    expect(await look()).toMatchObject({ ended: 0, failed: 1 });
  });

  it('ends although it was to be cancelled', async () => {
    await lose();
    await world.sql`update rowmill.batch_processing_details set cancel_asked = true`;
    await pass('3 days');
    await look();
    await pass('2 hours');
    expect(await look()).toMatchObject({ ended: 1 });
    expect(world.fake.called('cancelBatch')).toEqual([]);
  });

  it('of a dropped pipeline ends as well, and is done with', async () => {
    await lose();
    await world.sql`select rowmill.drop_pipeline('films')`;
    await pass('3 days');
    await look();
    await pass('2 hours');
    expect(await look()).toMatchObject({ ended: 1 });
    await harvest.runOnce(world.worker, options());
    expect(await state()).toBe('done');
    expect(await failures(world)).toEqual([]);
    expect(world.fake.files.size).toBe(0);
  });
});
