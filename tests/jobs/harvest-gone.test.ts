import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import { failureLine, jsonl, providerError } from '../support/fake-provider.ts';
import {
  answers,
  batches,
  ended,
  failures,
  type JobWorld,
  options,
  passTime,
  startJobWorld,
  status,
  submitted,
} from './job-world.ts';

describe('a result file that the provider says it does not know', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5000 } });
  });
  afterEach(() => world.stop());

  const run = () => harvest.runOnce(world.worker, options());
  async function pass(time: string): Promise<void> {
    await passTime(world, time);
    await world.sql`
      update rowmill.batch_processing_details set gone_since = gone_since - ${time}::text::interval`;
  }
  async function remove(which: 'output' | 'error'): Promise<void> {
    const [batch] = await batches(world);
    world.fake.files.delete(batch![`${which}_file_id`]);
  }

  it('is asked for again for an hour; then its rows are missing, and the batch is done', async () => {
    await ended(world, 'completed', { output: answers(await submitted(world, 1, 3)) });
    await remove('output');
    for (const time of ['20 seconds', '30 minutes', '29 minutes']) {
      expect(await run()).toMatchObject({ harvested: 0, failed: 1 });
      expect(await status(world)).toMatchObject({ in_flight: 3, problem: 'the provider is rejected' });
      await pass(time);
    }
    await pass('2 minutes');
    expect(await run()).toMatchObject({ harvested: 1, failed: 0 });
    expect(await batches(world)).toMatchObject([{ state: 'done', rows_enriched: 0, rows_failed: 3 }]);
    expect(await failures(world)).toMatchObject(
      [1, 2, 3].map((id) => ({ key: [id], error_class: 'missing', attempts: 1, is_final: false })),
    );
    const [{ message }] = (await world.sql`select message from rowmill.failures`) as unknown as [
      { message: string },
    ];
    expect(message).toBe("The provider has lost the batch's output file.");
    expect(await status(world)).toMatchObject({
      ...{ in_flight: 0, retrying: 3, pending: 3 },
      problem: "The provider has lost the batch's output file.",
    });
    expect(world.fake.files.size).toBe(0);
  });

  it('keeps no line of the other file from being read', async () => {
    const ids = await submitted(world, 1, 3);
    await ended(world, 'completed', {
      output: answers(ids.slice(0, 2)),
      error: jsonl([failureLine(ids[2]!, 500)]),
    });
    await remove('output');
    await run();
    await pass('2 hours');
    expect(await run()).toMatchObject({ harvested: 1, failed: 0 });
    expect((await failures(world)).map((row) => row.error_class).sort()).toEqual([
      'missing',
      'missing',
      'server_error',
    ]);
  });

  it('takes nothing from rows that were answered in the other', async () => {
    const ids = await submitted(world, 1, 3);
    await ended(world, 'completed', {
      output: answers(ids.slice(0, 2)),
      error: jsonl([failureLine(ids[2]!, 500)]),
    });
    await remove('error');
    await run();
    await pass('2 hours');
    expect(await run()).toMatchObject({ harvested: 1, failed: 0 });
    expect(await batches(world)).toMatchObject([{ state: 'done', rows_enriched: 2, rows_failed: 1 }]);
    expect(await failures(world)).toMatchObject([{ error_class: 'missing' }]);
  });

  it('leaves what was applied of it before', async () => {
    const ids = await submitted(world, 1, 1500);
    await ended(world, 'completed', { output: answers(ids) });
    const [batch] = await batches(world);
    world.fake.cutAt.set(batch!.output_file_id, Buffer.byteLength(answers(ids.slice(0, 1200))));
    expect(await run()).toMatchObject({ failed: 1 });
    await pass('20 seconds');
    await remove('output');
    expect(await run()).toMatchObject({ failed: 1 });
    await pass('2 hours');
    expect(await run()).toMatchObject({ harvested: 1 });
    expect(await batches(world)).toMatchObject([{ state: 'done', rows_enriched: 1000, rows_failed: 500 }]);
  });

  it('and then does know again is read as if nothing had been', async () => {
    const output = answers(await submitted(world, 1, 3));
    await ended(world, 'completed', { output });
    const [batch] = await batches(world);
    await remove('output');
    await run();
    await pass('50 minutes');
    world.fake.files.set(batch!.output_file_id, Buffer.from(output));
    expect(await run()).toMatchObject({ harvested: 1, failed: 0 });
    expect(await status(world)).toMatchObject({ enriched: 3, retrying: 0, problem: null });
    expect(await batches(world)).toMatchObject([{ state: 'done', gone_since: null }]);
  });

  it.each([
    ['500', providerError('ambiguous', { status: 500 })],
    ['403', providerError('rejected', { status: 403 })],
    ['no answer', providerError('ambiguous')],
  ])('is not given up for any other failure, for however long: %s', async (_what, error) => {
    await ended(world, 'completed', { output: answers(await submitted(world, 1, 3)) });
    world.fake.before.downloadFile = () => {
      throw error;
    };
    for (let times = 0; times < 3; times += 1) {
      expect(await run()).toMatchObject({ harvested: 0, failed: 1 });
      await pass('2 hours');
    }
    delete world.fake.before.downloadFile;
    expect(await run()).toMatchObject({ harvested: 1 });
    expect(await status(world)).toMatchObject({ enriched: 3 });
  });

  it('is not given up by a worker whose lease ran out', async () => {
    await ended(world, 'completed', { output: answers(await submitted(world, 1, 3)) });
    await remove('output');
    await run();
    await pass('2 hours');
    const slow = world.another('slow');
    world.fake.before.downloadFile = async () => {
      delete world.fake.before.downloadFile;
      await passTime(world, '3 minutes');
      await (await world.another('w2').store.takeLease()).claimEndedBatches(1);
    };
    expect(await harvest.runOnce(slow, options({ limit: 1 }))).toMatchObject({ harvested: 0 });
    expect(await batches(world)).toMatchObject([{ state: 'ended', owner: 'w2/1' }]);
    expect(await failures(world)).toEqual([]);
  });
});
