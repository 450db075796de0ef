import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  createFilms,
  createPipeline,
  endBatch,
  insertFilms,
  startBatch,
  takeChunks,
} from '../support/sql-factories.ts';

describe('a webhook', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await createFilms(sql);
    await createPipeline(sql);
    // Old enough that a batch of any age is due again far from now.
    await sql`update rowmill.settings set poll_every = '1 hour'`;
  });
  afterAll(() => database.drop());
  let next = 1;
  let batch: { id: number; provider: string };
  beforeEach(async () => {
    await sql`delete from rowmill.webhook_events`;
    await insertFilms(sql, next, next);
    next += 1;
    await sql`select rowmill.flush('films')`;
    const { batchId } = await startBatch(sql, await takeChunks(sql, 'films'));
    const [row] =
      await sql`select provider_batch_id from rowmill.batch_processing_details where id = ${batchId}`;
    batch = { id: batchId, provider: row!.provider_batch_id };
    await claim();
  });

  const note = async (id: string, provider = batch.provider, on: postgres.ISql = sql) => {
    const [row] = await on`select rowmill.note_webhook(${id}, ${provider}) as result`;
    return row!.result as string;
  };
  const claim = async () =>
    (await sql`select batch_id from rowmill.claim_due_polls(1000, 1000)`).map(({ batch_id }) => batch_id);
  const record = (provider_status: string) => sql`
    select rowmill.record_polls(${sql.json([
      {
        ...{
          batch_id: batch.id,
          provider_status,
          is_terminal: false,
          output_file_id: null,
          error_file_id: null,
        },
        ...{ requests_completed: 0, requests_failed: 0, provider_errors: null },
        ...{ input_tokens: null, cached_tokens: null, output_tokens: null },
      },
    ])})`;
  const events = () => sql`select id, provider_batch_id from rowmill.webhook_events order by id`;

  it('makes its batch due, and no other', async () => {
    expect(await claim()).toEqual([]);
    expect(await note('wh_1')).toBe('due');
    expect(await events()).toEqual([{ id: 'wh_1', provider_batch_id: batch.provider }]);
    expect(await claim()).toEqual([batch.id]);
    expect(await claim()).toEqual([]);
  });

  it('that came before changes nothing', async () => {
    await note('wh_1');
    await claim();
    expect(await note('wh_1')).toBe('known');
    expect(await claim()).toEqual([]);
  });

  it('for a batch that is not known leaves nothing', async () => {
    expect(await note('wh_1', 'batch_of_somebody_else')).toBe('unknown');
    expect(await events()).toEqual([]);
    expect(await claim()).toEqual([]);
  });

  it('that comes during a look has the batch looked at once more', async () => {
    await sql`update rowmill.batch_processing_details set poll_at = now() where id = ${batch.id}`;
    expect(await claim()).toEqual([batch.id]);
    expect(await note('wh_1')).toBe('due');
    await record('in_progress');
    expect(await claim()).toEqual([batch.id]);
  });

  it('that comes while the same one is being noted waits, and is known then', async () => {
    const reserved = await sql.reserve();
    try {
      await reserved`begin`;
      expect(await note('wh_1', batch.provider, reserved)).toBe('due');
      const second = note('wh_1');
      // It stands in line before the first one is through.
      await expect
        .poll(
          async () =>
            (
              await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
            ).length,
          { timeout: 20_000 },
        )
        .toBeGreaterThan(0);
      await reserved`commit`;
      expect(await second).toBe('known');
      expect(await events()).toHaveLength(1);
    } finally {
      reserved.release();
    }
  });

  it('that comes twice at once makes one worker due and the other know', async () => {
    const other = postgres(database.url, { max: 1, onnotice: () => {} });
    try {
      const results = await Promise.all([note('wh_1'), note('wh_1', batch.provider, other)]);
      expect(results.sort()).toEqual(['due', 'known']);
    } finally {
      await other.end();
    }
  });

  it('that comes late, after its batch was harvested, is noted and makes nothing due', async () => {
    await endBatch(sql, batch.id);
    const before = await sql`select * from rowmill.batch_processing_details where id = ${batch.id}`;
    expect(await note('wh_1')).toBe('due');
    expect(await sql`select * from rowmill.batch_processing_details where id = ${batch.id}`).toEqual(before);
    expect(await claim()).toEqual([]);
    expect(await note('wh_1')).toBe('known');
  });

  it('leaves the place in line of a batch that is due already', async () => {
    await sql`update rowmill.batch_processing_details set poll_at = '2020-01-01' where id = ${batch.id}`;
    expect(await note('wh_1')).toBe('due');
    const [row] = await sql`select poll_at from rowmill.batch_processing_details where id = ${batch.id}`;
    expect(row!.poll_at).toEqual(new Date('2020-01-01T00:00:00Z'));
    await claim();
  });

  it('with an id that no index has room for is of no batch, and nothing is noted', async () => {
    const long = Array.from({ length: 600 }, () => Math.random().toString(36)).join('');
    expect(await note(long)).toBe('unknown');
    expect(await note('wh_1', long)).toBe('unknown');
    expect(await events()).toHaveLength(0);
    expect(await note('x'.repeat(256))).toBe('due');
  });

  it('is forgotten after seven days, a thousand at a time', async () => {
    await sql`
      insert into rowmill.webhook_events (id, provider_batch_id, received_at)
      select 'old_' || n, 'batch', now() - interval '7 days 1 minute' from generate_series(1, 1500) as n`;
    await sql`
      insert into rowmill.webhook_events (id, provider_batch_id, received_at)
      values ('young', 'batch', now() - interval '6 days 23 hours')`;
    const forget = async () => (await sql`select rowmill.forget_webhooks() as forgotten`)[0]!.forgotten;
    expect([await forget(), await forget(), await forget()]).toEqual([1000, 500, 0]);
    expect(await events()).toMatchObject([{ id: 'young' }]);
  });

  it('is nobody’s to read, not even with a grant', async () => {
    await note('wh_1');
    const role = `reader_${database.url.slice(-12)}`;
    await sql.unsafe(
      `create role ${role}; grant usage on schema rowmill to ${role}; grant all on rowmill.webhook_events to ${role}`,
    );
    try {
      await sql.begin(async (tx) => {
        await tx.unsafe(`set local role ${role}`);
        expect(await tx`select from rowmill.webhook_events`).toHaveLength(0);
      });
    } finally {
      await sql.unsafe(`drop owned by ${role}; drop role ${role}`);
    }
  });
});
