import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as poll from '../../src/jobs/poll.ts';
import * as recover from '../../src/jobs/recover.ts';
import * as submit from '../../src/jobs/submit.ts';
import { providerError } from '../support/fake-provider.ts';
import { batches, type JobWorld, options, passTime, queue, startJobWorld } from './job-world.ts';

describe('with twenty batches due, or two of one intent,', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5 } });
  });
  afterEach(() => world.stop());

  it('what was looked at a moment ago does not come along with twenty new ones', async () => {
    await world.sql`update rowmill.settings set poll_every = '30 seconds'`;
    const ids: string[] = [];
    for (let at = 0; at < 60; at += 1) {
      ids.push((await world.fake.createBatch({ inputFileId: 'file', metadata: {} })).id);
    }
    await world.sql`
      insert into rowmill.batch_processing_details
        (key, pipeline_id, pipeline_version, model, endpoint, state, requests, bytes, provider_batch_id, provider_status, submitted_at, poll_at)
      select 'key of ' || b.id, p.id, p.version, p.model, p.endpoint, 'running', 1, 1, b.id, 'in_progress', now(), now()
      from rowmill.pipelines as p, unnest(${ids}::text[]) as b(id)`;
    const all = options({ limit: 10_000 });
    expect(await poll.runOnce(world.worker, all)).toMatchObject({ polled: 60 });
    await world.sql`update rowmill.batch_processing_details set poll_at = now() where id <= 20`;
    expect(await poll.runOnce(world.worker, all)).toMatchObject({ polled: 20 });
  });

  /** The intent's own create comes second: another worker has adopted a first batch of its key. */
  async function createTwice(): Promise<void> {
    await queue(world, 1, 5);
    world.fake.before.createBatch = async () => {
      delete world.fake.before.createBatch;
      const [{ key, input_file_id: inputFileId }] = (await batches(world)) as unknown as [
        { key: string; input_file_id: string },
      ];
      await world.fake.createBatch({ inputFileId, metadata: { rowmill_key: key } });
      await passTime(world, '3 minutes');
      await recover.runOnce(world.another('finder'), options());
    };
    await submit.runOnce(world.worker, options());
  }

  it('a second batch of an intent whose cancel is turned away does not cost the first its file', async () => {
    world.fake.before.cancelBatch = () => {
      throw providerError('busy', { status: 429 });
    };
    await createTwice();
    expect(await batches(world)).toMatchObject([{ state: 'running', provider_batch_id: 'batch_1' }]);
    expect(world.fake.files.size).toBe(1);
  });
});
