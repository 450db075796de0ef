import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  createFilms,
  createPipeline,
  type EndedBatch,
  emptyQueue,
  endedBatch,
  failure,
  finishHarvest,
  insertFilms,
  tick,
} from '../support/sql-factories.ts';

describe('the failure of an input that is no longer its row\u2019s', () => {
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
    if (id) await emptyQueue(sql, id);
    tables += 1;
    name = `films_${tables}`;
    table = `public.${name}`;
    await createFilms(sql, table);
    // One attempt: whatever counts is final.
    id = await createPipeline(sql, { name, source: table, max_attempts: 1 });
  });

  const edit = (film: number, title = 'edited') =>
    sql.unsafe(`update ${table} set title = $1 where id = $2`, [title, film]);
  const failures = () =>
    sql`select key, attempts, is_final, error_class from rowmill.failures where pipeline_id = ${id}`;
  const outputs = async () =>
    (await sql.unsafe(`select summary from ${table} order by id`)).map((row) => row.summary);
  /** What becomes of the requests of a batch that nothing speaks of. */
  const finish = ({ batchId }: EndedBatch, counted = true) =>
    finishHarvest(sql, batchId, { class: 'batch_expired', message: 'too slow', counted });
  async function inFlight(films: number): Promise<EndedBatch> {
    await insertFilms(sql, 1, films, table);
    return await endedBatch(sql, name);
  }
  /** Answers whatever is asked of what is queued; returns the titles. */
  async function answerTheRest(): Promise<string[]> {
    const asked: string[] = [];
    await sql`update rowmill.pending_keys set queued_at = now() where pipeline_id = ${id}`;
    const [row] = await sql`select rowmill.flush(${name}) as chunks`;
    if (row!.chunks === 0) return [];
    const batch = await endedBatch(sql, name);
    for (const row of batch.rows) asked.push(row.input.title!);
    await apply(sql, batch.batchId, {
      answers: batch.rows.map((row) => answer(row, `to ${row.input.title}`)),
    });
    await finish(batch);
    return asked.sort();
  }

  it.each([
    ['one that counts', { counted: true, retried: true }],
    ['one that is final', { counted: true, retried: false }],
    ['one that counts for nothing', { counted: false, retried: true }],
  ])('neither counts nor stands against the row: %s', async (_what, verdict) => {
    const batch = await inFlight(2);
    await edit(1);
    expect(
      await apply(sql, batch.batchId, { failures: batch.rows.map((row) => failure(row, verdict)) }),
    ).toMatchObject({ failed: 2, duplicate: 0, unknown: 0 });
    expect((await failures()).map((row) => row.key)).toEqual([[2]]);
    expect(await sql`select from rowmill.chunk_rows where pipeline_id = ${id}`).toHaveLength(0);
    expect(await answerTheRest()).toContain('edited');
    expect((await outputs())[0]).toBe('to edited');
  });

  it.each([true, false])('is none either where its batch expired (counted: %s)', async (counted) => {
    const batch = await inFlight(2);
    await edit(1);
    await apply(sql, batch.batchId, { answers: [] });
    expect(await finish(batch, counted)).toBe(2);
    expect((await failures()).map((row) => row.key)).toEqual([[2]]);
    expect(await answerTheRest()).toContain('edited');
  });

  it('keeps its row from no answer, and asks for none twice', async () => {
    const batch = await inFlight(1);
    await edit(1);
    await apply(sql, batch.batchId, { failures: [failure(batch.rows[0]!)] });
    await finish(batch);
    // The edit that its trigger queued, and the one that the failure queued for want of an answer, are one.
    expect(await answerTheRest()).toEqual(['edited']);
    expect(await answerTheRest()).toEqual([]);
    expect(await outputs()).toEqual(['to edited']);
  });

  it('that comes after the answer to the edit changes nothing', async () => {
    const batch = await inFlight(1);
    await edit(1);
    expect(await answerTheRest()).toEqual(['edited']);
    await sql`update rowmill.batch_processing_details set owner = 'w', lease_until = now() + interval '1 minute' where id = ${batch.batchId}`;
    await apply(sql, batch.batchId, { failures: [failure(batch.rows[0]!, { retried: false })] });
    await finish(batch);
    expect(await failures()).toEqual([]);
    expect(await answerTheRest()).toEqual([]);
    expect(await outputs()).toEqual(['to edited']);
  });

  it('has the row asked for where its edit could not be queued, if it has no answer', async () => {
    const batch = await inFlight(2);
    await sql.unsafe(`alter table ${table} disable trigger user`);
    await edit(1, 'unseen');
    await sql.unsafe(`update ${table} set title = 'unseen, too', summary = 'by hand' where id = 2`);
    await sql.unsafe(`alter table ${table} enable trigger user`);
    await apply(sql, batch.batchId, { failures: batch.rows.map((row) => failure(row)) });
    await finish(batch);
    expect(await answerTheRest()).toEqual(['unseen']);
    expect(await outputs()).toEqual(['to unseen', 'by hand']);
    expect(await failures()).toEqual([]);
  });

  it('leaves a failure of the row\u2019s present input alone', async () => {
    const early = await inFlight(1);
    await edit(1);
    const late = await endedBatch(sql, name);
    await apply(sql, late.batchId, {
      failures: [failure(late.rows[0]!, { class: 'refused', retried: false })],
    });
    await sql`update rowmill.batch_processing_details set owner = 'w', lease_until = now() + interval '1 minute' where id = ${early.batchId}`;
    await apply(sql, early.batchId, { failures: [failure(early.rows[0]!)] });
    expect(await failures()).toMatchObject([
      { key: [1], error_class: 'refused', attempts: 1, is_final: true },
    ]);
  });

  it('is one again where the edit was taken back', async () => {
    const batch = await inFlight(1);
    await edit(1);
    await edit(1, 'film 1');
    await apply(sql, batch.batchId, { failures: [failure(batch.rows[0]!)] });
    expect(await failures()).toMatchObject([{ key: [1], attempts: 1, is_final: true }]);
  });

  it('of a row that is gone is noted as ever, and of a table that is gone as well', async () => {
    const batch = await inFlight(2);
    await sql.unsafe(`delete from ${table} where id = 1`);
    await apply(sql, batch.batchId, {
      failures: [failure(batch.rows.find((row) => row.input.title === 'film 1')!)],
    });
    expect(await failures()).toHaveLength(1);
    await sql.unsafe(`drop table ${table}`);
    expect(await finish(batch)).toBe(1);
    expect(await failures()).toHaveLength(2);
    await tick(sql);
    await sql`select rowmill.drop_pipeline(${name})`;
  });

  it('is told by the input as the worker reads it, whatever the session\u2019s settings', async () => {
    await sql.unsafe(`alter table ${table} add column seen timestamptz default '2026-01-02 03:04:05+00'`);
    const own = await createPipeline(sql, {
      ...{
        name: `${name}_seen`,
        source: table,
        prompt: '{{title}} {{seen}}',
        outputs: ['note'],
        max_attempts: 1,
      },
    });
    await insertFilms(sql, 1, 1, table);
    const batch = await endedBatch(sql, `${name}_seen`);
    await sql.begin(async (tx) => {
      await tx`set local timezone = 'Asia/Kolkata'`;
      await tx`set local datestyle = 'SQL, DMY'`;
      await tx`set local intervalstyle = 'iso_8601'`;
      await finishHarvest(tx, batch.batchId, { retried: false });
    });
    expect(await sql`select from rowmill.failures where pipeline_id = ${own} and is_final`).toHaveLength(1);
    await emptyQueue(sql, own);
  });

  it.each([
    ['after the first attempt', 1, '15 seconds'],
    ['after the third', 3, '1 minute'],
    ['after the tenth, an hour at most', 10, '1 hour'],
  ])('apart, one that counts waits, twice as long each time: %s', async (_what, attempts, wait) => {
    await sql`update rowmill.pipelines set max_attempts = 20 where id = ${id}`;
    const batch = await inFlight(1);
    if (attempts > 1) {
      await sql`insert into rowmill.failures (pipeline_id, key, hash, error_class, message, attempts, is_final)
        values (${id}, '[1]', ${batch.rows[0]!.h}, 'timeout', 'm', ${attempts - 1}, false)`;
    }
    await apply(sql, batch.batchId, { failures: [failure(batch.rows[0]!)] });
    const [entry] = await sql`
      select queued_at - now() between ${wait}::text::interval - interval '10 seconds' and ${wait}::text::interval as waits
      from rowmill.pending_keys where pipeline_id = ${id}`;
    expect(entry!.waits).toBe(true);
  });

  it('apart, one that counts waits as long as settings.retry_after says', async () => {
    await sql`update rowmill.pipelines set max_attempts = 2 where id = ${id}`;
    await sql`update rowmill.settings set retry_after = '1 second'`;
    const batch = await inFlight(1);
    await apply(sql, batch.batchId, { failures: [failure(batch.rows[0]!)] });
    await sql`update rowmill.settings set retry_after = default`;
    const [entry] = await sql`
      select queued_at <= now() + interval '1 second' as soon from rowmill.pending_keys where pipeline_id = ${id}`;
    expect(entry!.soon).toBe(true);
  });

  it('apart, one that was no attempt is tried again at once, and one that says when, then', async () => {
    const batch = await inFlight(2);
    const [first, second] = batch.rows.map((row) => failure(row, { counted: false }));
    await apply(sql, batch.batchId, { failures: [first!, { ...second!, delay_seconds: 40 }] });
    const waits = await sql`
      select extract(epoch from queued_at - now())::float8 as seconds from rowmill.pending_keys
      where pipeline_id = ${id} order by queued_at`;
    expect(waits).toHaveLength(2);
    expect(waits[0]!.seconds).toBeLessThanOrEqual(0);
    expect(waits[1]!.seconds).toBeGreaterThan(30);
    expect(waits[1]!.seconds).toBeLessThanOrEqual(40);
  });

  it('apart, no provider has a row wait for longer than four times settings.retry_after', async () => {
    const batch = await inFlight(1);
    await apply(sql, batch.batchId, {
      failures: [{ ...failure(batch.rows[0]!, { counted: false }), delay_seconds: 4000 }],
    });
    const [entry] = await sql`
      select queued_at <= now() + interval '1 minute' as soon from rowmill.pending_keys where pipeline_id = ${id}`;
    expect(entry!.soon).toBe(true);
  });
});
