import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as poll from '../../src/jobs/poll.ts';
import { providerError } from '../support/fake-provider.ts';
import {
  aborted,
  answers,
  batches,
  batchStates,
  type JobWorld,
  options,
  startJobWorld,
  submitted,
} from './job-world.ts';

describe('the poll job', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5 } });
  });
  afterEach(() => world.stop());

  it.each(['completed', 'failed', 'expired', 'cancelled'])(
    'a batch that is %s ends, with what the provider says of it',
    async (status) => {
      const ids = await submitted(world, 1, 2);
      const batch = world.fake.end(status, {
        output: answers(ids),
        error: '',
        errors: [{ code: 'a_code', message: 'a message', line: 3 }],
      });
      batch.counts = { total: 2, completed: 1, failed: 1 };
      expect(await poll.runOnce(world.worker, options())).toEqual({
        polled: 1,
        ended: 1,
        failed: 0,
        more: 0,
      });
      expect(await batches(world)).toMatchObject([
        {
          state: 'ended',
          provider_status: status,
          output_file_id: batch.outputFileId,
          error_file_id: batch.errorFileId,
          requests_completed: 1,
          requests_failed: 1,
          provider_errors: [{ code: 'a_code', message: 'a message', line: 3 }],
        },
      ]);
    },
  );

  it.each(['validating', 'in_progress', 'finalizing', 'cancelling', 'paused_by_martians', ''])(
    'a batch that is "%s" goes on running',
    async (status) => {
      await submitted(world, 1, 2);
      world.fake.end(status);
      expect(await poll.runOnce(world.worker, options())).toMatchObject({ polled: 1, ended: 0, failed: 0 });
      expect(await batches(world)).toMatchObject([
        { state: 'running', provider_status: status, ended_at: null },
      ]);
    },
  );

  it.each([
    ['404', providerError('rejected', { status: 404 })],
    ['500', providerError('ambiguous', { status: 500 })],
    ['429', providerError('busy', { status: 429 })],
    ['no answer at all', providerError('ambiguous')],
  ])('a look that fails with %s leaves the batch running, and the next one goes on', async (_what, error) => {
    const ids = await submitted(world, 1, 2);
    world.fake.before.retrieveBatch = () => {
      throw error;
    };
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ polled: 1, ended: 0, failed: 1 });
    expect(await batches(world)).toMatchObject([{ state: 'running', problem: error.message }]);
    delete world.fake.before.retrieveBatch;
    world.fake.end('completed', { output: answers(ids) });
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ ended: 1 });
    expect(await batches(world)).toMatchObject([{ state: 'ended', problem: null }]);
  });

  it('a look that fails keeps no other batch from being looked at', async () => {
    await submitted(world, 1, 15);
    world.fake.before.retrieveBatch = (id) => {
      if (id === 'batch_2') throw providerError('ambiguous');
    };
    for (const id of ['batch_1', 'batch_2', 'batch_3']) world.fake.end('completed', { id, output: '' });
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ polled: 3, ended: 2, failed: 1 });
    expect(await batchStates(world)).toEqual(['ended', 'running', 'ended']);
  });

  it('runs twice harmlessly', async () => {
    const ids = await submitted(world, 1, 2);
    world.fake.end('completed', { output: answers(ids) });
    await poll.runOnce(world.worker, options());
    expect(await poll.runOnce(world.worker, options())).toEqual({ polled: 0, ended: 0, failed: 0, more: 0 });
  });

  it('two workers at once look at different batches', async () => {
    await world.sql`update rowmill.settings set poll_every = '1 hour'`;
    await submitted(world, 1, 40);
    const runs = await Promise.all(
      [world.worker, world.another('w2')].map((worker) => poll.runOnce(worker, options())),
    );
    expect(runs[0]!.polled! + runs[1]!.polled!).toBe(8);
    expect(new Set(world.fake.called('retrieveBatch')).size).toBe(8);
    expect(world.fake.called('retrieveBatch')).toHaveLength(8);
  });

  it('looks at a running batch again only after poll_every', async () => {
    await world.sql`update rowmill.settings set poll_every = '30 seconds'`;
    await submitted(world, 1, 2);
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ polled: 1 });
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ polled: 0 });
    await world.sql`update rowmill.batch_processing_details set poll_at = poll_at - interval '26 seconds'`;
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ polled: 0 });
    await world.sql`update rowmill.batch_processing_details set poll_at = poll_at - interval '8 seconds'`;
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ polled: 1 });
  });

  it('looks at no more batches than its limit, and says that there may be more', async () => {
    await submitted(world, 1, 15);
    expect(await poll.runOnce(world.worker, options({ limit: 2 }))).toMatchObject({ polled: 2, more: 1 });
  });

  it('looks at nothing once the signal is aborted', async () => {
    await submitted(world, 1, 2);
    const [before] = await batches(world);
    expect(await poll.runOnce(world.worker, aborted())).toEqual({ polled: 0, ended: 0, failed: 0, more: 0 });
    expect((await batches(world))[0]!.poll_at).toEqual(before!.poll_at);
    expect(world.fake.called('retrieveBatch')).toHaveLength(0);
  });

  it('a look that the stop of the service cuts short is no problem of the batch', async () => {
    await submitted(world, 1, 2);
    const abort = new AbortController();
    world.fake.before.retrieveBatch = () => {
      abort.abort(new Error('the service stops'));
      throw providerError('ambiguous');
    };
    await poll.runOnce(world.worker, options({ signal: abort.signal }));
    expect(await batches(world)).toMatchObject([{ state: 'running', problem: null }]);
  });

  it('a store that fails leaves the batch running, and the next run ends it', async () => {
    const ids = await submitted(world, 1, 2);
    world.fake.end('completed', { output: answers(ids) });
    const broken = world.another('broken', {
      store: { recordPolls: () => Promise.reject(new Error('out of reach')) },
    });
    expect(await poll.runOnce(broken, options())).toMatchObject({ ended: 0, failed: 1 });
    expect(await batches(world)).toMatchObject([{ state: 'running', problem: 'out of reach' }]);
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ ended: 1 });
  });

  it('a message of the provider with a zero byte in it does not keep the batch from ending', async () => {
    await submitted(world, 1, 2);
    world.fake.end('failed', { errors: [{ code: null, message: 'a \0 in the \ud800 middle', line: null }] });
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ ended: 1, failed: 0 });
    expect((await batches(world))[0]!.provider_errors[0].message).toBe('a \u2400 in the \ufffd middle');
  });

  it('a batch that is to be cancelled is cancelled once', async () => {
    await submitted(world, 1, 2);
    await world.sql`update rowmill.batch_processing_details set cancel_asked = true`;
    await poll.runOnce(world.worker, options());
    expect(await batches(world)).toMatchObject([{ state: 'running', provider_status: 'cancelling' }]);
    await poll.runOnce(world.worker, options());
    world.fake.end('cancelled');
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ ended: 1 });
    expect(world.fake.called('cancelBatch')).toEqual(['batch_1']);
  });

  it('a batch that ended before it could be cancelled ends as it did', async () => {
    const ids = await submitted(world, 1, 2);
    await world.sql`update rowmill.batch_processing_details set cancel_asked = true`;
    world.fake.end('completed', { output: answers(ids) });
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ ended: 1 });
    expect(world.fake.called('cancelBatch')).toHaveLength(0);
  });

  it('a cancel that fails is tried again', async () => {
    await submitted(world, 1, 2);
    await world.sql`update rowmill.batch_processing_details set cancel_asked = true`;
    world.fake.before.cancelBatch = () => {
      delete world.fake.before.cancelBatch;
      throw providerError('ambiguous', { status: 500 });
    };
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ failed: 1 });
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ failed: 0 });
    expect(await batches(world)).toMatchObject([
      { state: 'running', provider_status: 'cancelling', problem: null },
    ]);
  });
});
