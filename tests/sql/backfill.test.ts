import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  createPipeline,
  emptyQueue,
  endedBatch,
  failure,
  problemOf,
  queuedKeys,
  takeChunks,
  tick,
} from '../support/sql-factories.ts';

describe('backfill', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let id: number;
  let name: string;
  let table: string;
  let tables = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    tables += 1;
    name = `films_${tables}`;
    table = `public.${name}`;
    await sql.unsafe(`
      create table ${table} (place text, at timestamptz, title text, summary text, score int, primary key (place, at));
      insert into ${table} (place, at, title)
      select case when n % 2 = 0 then 'b' else 'a' end, '2024-01-01 00:00+00'::timestamptz + n * interval '1 hour', 'film ' || n
      from generate_series(1, 25) as n`);
    id = await createPipeline(sql, { name, source: table, outputs: ['summary', 'score'] });
  });

  const slice = async (rows: number) =>
    (await sql`select rowmill.backfill_slice(${id}, ${rows}) as queued`)[0]!.queued;
  const status = async () =>
    (await sql`select backfill from rowmill.pipeline_status where name = ${name}`)[0]!.backfill;
  const allKeys = async () =>
    (
      await sql.unsafe(
        `select jsonb_build_array(place, at at time zone 'UTC') as key from ${table} order by place, at`,
      )
    ).map(({ key }) => [key[0], `${key[1]}+00:00`]);

  it('goes on slice by slice, in the order of a key of several columns, and queues each row once', async () => {
    await sql`select rowmill.backfill(${name})`;
    const queued: number[] = [];
    for (let round = 0; round < 5; round += 1) queued.push(await slice(7));
    expect(queued).toEqual([7, 7, 7, 4, 0]);
    expect(await queuedKeys(sql, id)).toEqual(await allKeys());
    expect(await status()).toBe('25 rows queued, done');
  });

  it('that is interrupted goes on where it was', async () => {
    await sql`select rowmill.backfill(${name})`;
    await slice(10);
    await sql
      .begin(async (tx) => {
        await tx`select rowmill.backfill_slice(${id}, 10)`;
        throw new Error('the worker died');
      })
      .catch(() => {});
    expect(await status()).toBe('10 rows queued, going on');
    await tick(sql);
    expect(await queuedKeys(sql, id)).toEqual(await allKeys());
  });

  it('is taken forward by one session at a time', async () => {
    await sql`select rowmill.backfill(${name})`;
    await sql.begin(async (tx) => {
      await tx`select rowmill.backfill_slice(${id}, 10)`;
      expect(await slice(10)).toBe(0);
    });
    expect(await slice(100)).toBe(15);
    expect(await queuedKeys(sql, id)).toEqual(await allKeys());
  });

  it('finds its slices by the same keys whatever a session has set', async () => {
    await sql`select rowmill.backfill(${name})`;
    await slice(10);
    await sql.begin(async (tx) => {
      await tx.unsafe(`set local timezone = 'Asia/Tokyo'; set local datestyle = 'SQL, DMY'`);
      await tx`select rowmill.backfill_slice(${id}, 100)`;
    });
    expect(await queuedKeys(sql, id)).toEqual(await allKeys());
  });

  it('begins anew when it is called again', async () => {
    await sql`select rowmill.backfill(${name})`;
    await slice(10);
    await sql`select rowmill.backfill(${name})`;
    expect(await status()).toBe('0 rows queued, going on');
    expect(await slice(100)).toBe(25);
  });

  it('ends at once over an empty table', async () => {
    await sql.unsafe(`delete from ${table}`);
    await sql`select rowmill.backfill(${name})`;
    await tick(sql);
    expect(await status()).toBe('0 rows queued, done');
    expect(await queuedKeys(sql, id)).toEqual([]);
  });

  it('of missing rows passes over what is enriched, in flight or failed for good', async () => {
    await sql.unsafe(`delete from ${table} where at > '2024-01-01 05:30+00'`);
    await sql.unsafe(`update ${table} set score = 1 where title = 'film 1'`);
    await sql`select rowmill.backfill(${name})`;
    await slice(100);
    const batch = await endedBatch(sql, name);
    const rows = new Map(batch.rows.map((row) => [row.input.title, row]));
    await apply(sql, batch.batchId, {
      answers: [answer(rows.get('film 2')!, 'done', 2)],
      failures: [
        failure(rows.get('film 3')!, { retried: false }),
        failure(rows.get('film 4')!, { retried: true }),
      ],
    });
    await emptyQueue(sql, id);
    await sql`select rowmill.backfill(${name}, only_missing => true)`;
    await slice(2);
    await slice(100);
    await sql`select rowmill.flush(${name})`;
    // film 5 is in flight still; film 4 failed and is not queued any more
    const { rows: sent } = await takeChunks(sql, name);
    expect(sent.map((row) => row.input.title)).toEqual(['film 4']);
    expect(await status()).toBe('1 rows queued, done');
  });

  it('is begun by create_pipeline where it says so', async () => {
    await createPipeline(sql, { name: `${name}_all`, source: table, outputs: ['score'], backfill: true });
    expect(await sql`select backfill from rowmill.pipeline_status where name = ${`${name}_all`}`).toEqual([
      { backfill: '0 rows queued, going on' },
    ]);
  });

  it('of a table of more than a slice is told by the tick to be called again', async () => {
    await sql`select rowmill.backfill(${name})`;
    await sql.unsafe(
      `insert into ${table} (place, at, title) select 'c', '2024-01-01'::timestamptz + n * interval '1 second', 'x' from generate_series(1, 10500) as n`,
    );
    await emptyQueue(sql, id);
    const counts = await tick(sql);
    expect(counts).toMatchObject({ more: true });
    for (let more = true; more; ) more = (await tick(sql)).more;
    expect(await status()).toBe('10525 rows queued, done');
    expect(await problemOf(sql, name)).toBeNull();
  });
});
