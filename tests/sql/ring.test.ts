import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { pgNetStub } from '../support/pg-net-stub.ts';
import { ingestSecret } from '../support/service.ts';
import {
  createFilms,
  createPipeline,
  insertFilms,
  startBatch,
  takeChunks,
  tick,
} from '../support/sql-factories.ts';

describe('the tick', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let batch: number;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql.unsafe(pgNetStub);
    await createFilms(sql);
    await createPipeline(sql, { chunk_size: 10 });
    await sql`select rowmill.set_endpoint('http://127.0.0.1:8787', ${ingestSecret})`;
    await insertFilms(sql, 1, 10);
    batch = (await startBatch(sql, await takeChunks(sql, 'films'))).batchId;
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    await sql`delete from rowmill.pings`;
    await sql`delete from rowmill.workers`;
    await sql`truncate net.http_request_queue`;
    await sql`update rowmill.batch_processing_details set state = 'running', ended_at = null, poll_at = now() - interval '1 second', lease_until = null, sweep_at = null where id = ${batch}`;
  });

  const rings = async () => {
    const posts = await sql<{ body: string }[]>`
      select convert_from(body, 'UTF8') as body from net.http_request_queue order by id`;
    return posts.map(({ body }) => JSON.parse(body)).filter((body) => 'ping' in body).length;
  };

  it('rings where a batch is due for a look and no worker was ever seen', async () => {
    await tick(sql);
    expect(await rings()).toBe(1);
  });

  it('rings no second time before settings.repost_after has passed', async () => {
    await tick(sql);
    await tick(sql);
    expect(await rings()).toBe(1);
    await sql`update rowmill.pings set sent_at = now() - interval '61 seconds'`;
    await tick(sql);
    expect(await rings()).toBe(2);
  });

  it('does not ring where a worker was seen within settings.lease', async () => {
    await sql`insert into rowmill.workers (id, version, seen_at) values ('w', '1', now() - interval '119 seconds')`;
    await tick(sql);
    expect(await rings()).toBe(0);
    await sql`update rowmill.workers set seen_at = now() - interval '121 seconds'`;
    await tick(sql);
    expect(await rings()).toBe(1);
  });

  it('does not ring where nothing is due', async () => {
    await sql`update rowmill.batch_processing_details set poll_at = now() + interval '1 minute'`;
    await tick(sql);
    expect(await rings()).toBe(0);
  });

  it.each([
    ['ended and unread', `state = 'ended', ended_at = now()`, 1],
    [
      'ended, under a lease',
      `state = 'ended', ended_at = now(), lease_until = now() + interval '1 minute'`,
      0,
    ],
    ['to be searched for', `poll_at = now() + interval '1 hour', sweep_at = now() - interval '1 second'`, 1],
  ])('looks at a batch that is %s', async (_what, set, expected) => {
    await sql.unsafe(`update rowmill.batch_processing_details set ${set} where id = ${batch}`);
    await tick(sql);
    expect(await rings()).toBe(expected);
  });

  it('rings for a chunk that waits for room every quarter of an hour', async () => {
    await sql`update rowmill.batch_processing_details set poll_at = now() + interval '1 hour'`;
    await insertFilms(sql, 11, 20);
    await sql`update rowmill.chunks set waits_for = 'budget', wait_reason = 'test' where state = 'waiting'`;
    await tick(sql);
    expect(await rings()).toBe(1);
    await sql`update rowmill.pings set sent_at = now() - interval '14 minutes'`;
    await tick(sql);
    expect(await rings()).toBe(1);
    await sql`update rowmill.pings set sent_at = now() - interval '16 minutes'`;
    await tick(sql);
    expect(await rings()).toBe(2);
    await sql`delete from rowmill.chunks where waits_for is not null`;
  });

  it('goes on where it cannot ring', async () => {
    await sql`update rowmill.secrets set value = 'none'`;
    await insertFilms(sql, 21, 25);
    await sql`update rowmill.pipelines set flush_after = '0 seconds'`;
    expect(await tick(sql)).toMatchObject({ formed: 1 });
    await sql`update rowmill.secrets set value = ${ingestSecret}`;
  });

  it('forgets webhooks of a week ago', async () => {
    await sql`
      insert into rowmill.webhook_events (id, provider_batch_id, received_at)
      values ('old', 'batch_1', now() - interval '8 days'), ('new', 'batch_1', now())`;
    await tick(sql);
    expect(await sql`select id from rowmill.webhook_events`).toEqual([{ id: 'new' }]);
  });
});
