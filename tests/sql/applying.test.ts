import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  createFilms,
  createPipeline,
  emptyQueue,
  endBatch,
  endedBatch,
  failure,
  finishHarvest,
  insertFilms,
  queuedKeys,
  refusal,
  startBatch,
  takeChunks,
  tick,
} from '../support/sql-factories.ts';

describe('applying results', () => {
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
    await createFilms(sql, table);
    id = await createPipeline(sql, { name, source: table, outputs: ['summary', 'score'], max_attempts: 2 });
  });

  const film = async (n: number) =>
    (await sql.unsafe(`select summary, score from ${table} where id = ${n}`))[0];
  const failures = async () =>
    await sql`select key, error_class, attempts, is_final, message from rowmill.failures where pipeline_id = ${id} order by key`;
  const batchRow = async (batchId: number) =>
    (await sql`select * from rowmill.batch_processing_details where id = ${batchId}`)[0]!;
  async function inserted(count: number) {
    await insertFilms(sql, 1, count, table);
    return await endedBatch(sql, name);
  }
  const none = { enriched: 0, stale: 0, gone: 0, failed: 0, duplicate: 0, unknown: 0 };

  it('an answer fills the outputs of its own row, and queues nothing', async () => {
    const { batchId, rows } = await inserted(3);
    const counts = await apply(sql, batchId, {
      answers: rows.map((row) => answer(row, `about ${row.input.title}`, row.n)),
    });
    expect(counts).toEqual({ ...none, enriched: 3 });
    expect(await film(2)).toEqual({ summary: 'about film 2', score: 1 });
    expect(await queuedKeys(sql, id)).toEqual([]);
    expect(await sql`select from rowmill.chunk_rows where pipeline_id = ${id}`).toHaveLength(0);
    expect(await batchRow(batchId)).toMatchObject({
      rows_enriched: 3,
      input_tokens: 10,
      cached_tokens: 2,
      output_tokens: 5,
      output_position: 100,
      error_position: 0,
    });
  });

  it('an answer to what a row was before an edit is refused, and the row goes round again', async () => {
    const { batchId, rows } = await inserted(2);
    await sql.unsafe(`update ${table} set title = 'edited' where id = 1`);
    expect(await apply(sql, batchId, { answers: rows.map((row) => answer(row, 'x', 1)) })).toEqual({
      ...none,
      enriched: 1,
      stale: 1,
    });
    expect(await film(1)).toEqual({ summary: null, score: null });
    const again = await endedBatch(sql, name);
    expect(again.rows.map((row) => row.input.title)).toEqual(['edited']);
    await apply(sql, again.batchId, { answers: [answer(again.rows[0]!, 'fresh', 2)] });
    expect(await film(1)).toEqual({ summary: 'fresh', score: 2 });
  });

  it('a row that was edited without its trigger is found by its refused answer', async () => {
    const { batchId, rows } = await inserted(1);
    await sql.unsafe(
      `alter table ${table} disable trigger user; update ${table} set title = 'edited'; alter table ${table} enable trigger user`,
    );
    await apply(sql, batchId, { answers: rows.map((row) => answer(row, 'x', 1)) });
    expect(await queuedKeys(sql, id)).toEqual([[1]]);
  });

  it('gone rows, duplicate, unknown and foreign lines are told apart', async () => {
    const other = await inserted(1);
    await insertFilms(sql, 2, 4, table);
    const { batchId, rows } = await endedBatch(sql, name);
    await sql.unsafe(`delete from ${table} where id = 2`);
    const [gone, good, silent] = rows.map((row) => answer(row, 'x', 1));
    expect(
      await apply(sql, batchId, {
        answers: [gone!, good!, answer(other.rows[0]!, 'x', 1), { ...silent!, n: 99 }, { ...silent!, n: -1 }],
        unknown: 2,
        repeated: 3,
      }),
    ).toEqual({ ...none, enriched: 1, gone: 1, unknown: 5, duplicate: 3 });
    expect(await apply(sql, batchId, { answers: [good!] })).toEqual({ ...none, duplicate: 1 });
    expect(await apply(sql, batchId, { file: 'error', failures: [failure(rows[1]!)] })).toEqual({
      ...none,
      duplicate: 1,
    });
    expect(await failures()).toEqual([]);
    expect(await batchRow(batchId)).toMatchObject({
      rows_enriched: 1,
      rows_gone: 1,
      lines_unknown: 5,
      lines_duplicate: 5,
    });

    expect(await finishHarvest(sql, batchId)).toBe(1);
    expect(await failures()).toMatchObject([{ key: [4], error_class: 'missing', attempts: 1 }]);
    expect(await batchRow(batchId)).toMatchObject({ state: 'harvested', rows_failed: 1 });
    expect(await film(1)).toEqual({ summary: null, score: null });
  });

  it('a slice that is applied twice changes nothing the second time', async () => {
    const { batchId, rows } = await inserted(2);
    const slice = { answers: [answer(rows[0]!, 'x', 1)], failures: [failure(rows[1]!)], from: 0 };
    expect(await apply(sql, batchId, slice)).toMatchObject({ enriched: 1, failed: 1 });
    const before = [await batchRow(batchId), await failures(), await queuedKeys(sql, id)];
    expect(await apply(sql, batchId, slice)).toBeNull();
    expect(await apply(sql, batchId, { ...slice, from: 50 })).toBeNull();
    expect([await batchRow(batchId), await failures(), await queuedKeys(sql, id)]).toEqual(before);
  });

  it('a worker that does not hold the batch changes nothing', async () => {
    const { batchId, rows } = await inserted(1);
    expect(await apply(sql, batchId, { answers: [answer(rows[0]!, 'x', 1)], worker: 'thief' })).toBeNull();
    expect(await film(1)).toEqual({ summary: null, score: null });
    expect(await finishHarvest(sql, batchId, { worker: 'thief' })).toBeNull();
    expect(await batchRow(batchId)).toMatchObject({ state: 'ended', output_position: 0 });
  });

  it('two sessions that apply the same slice at once apply it once', async () => {
    const { batchId, rows } = await inserted(500);
    const slice = { answers: rows.map((row) => answer(row, 'x', 1)), from: 0 };
    const counts = await Promise.all(Array.from({ length: 6 }, () => apply(sql, batchId, slice)));
    expect(counts.filter((one) => one !== null)).toEqual([{ ...none, enriched: 500 }]);
    expect(await batchRow(batchId)).toMatchObject({
      rows_enriched: 500,
      lines_duplicate: 0,
      input_tokens: 10,
    });
  });

  it.each([
    ['out of range', '', { o1: 3_000_000_000 }, '22003'],
    ['of another type', '', { o1: 'many' }, '22P02'],
    ['against a check', 'alter table # add constraint small check (score < 100)', { o1: 100 }, '23514'],
    [
      'without its parent',
      'create table #_scores (id int primary key); insert into #_scores values (1); alter table # add foreign key (score) references #_scores',
      { o1: 2 },
      '23503',
    ],
    [
      'that is a duplicate',
      'create unique index on # (score) where score > 1',
      { o1: 7, twin: true },
      '23505',
    ],
    [
      'that is null where null is forbidden',
      'alter table # add constraint summary_there check (score is null or summary is not null)',
      { o0: null },
      '23514',
    ],
    [
      'that a trigger of the user refuses',
      `create function #_fn() returns trigger language plpgsql as $$ begin if new.score = 13 then raise 'unlucky'; end if; return new; end $$; create trigger t before update on # for each row execute function #_fn()`,
      { o1: 13 },
      'P0001',
    ],
    [
      'that a trigger of the user refuses with a code of its own',
      `create function #_fn() returns trigger language plpgsql as $$ begin if new.score = 13 then raise sqlstate 'PT400' using message = 'unlucky'; end if; return new; end $$; create trigger t before update on # for each row execute function #_fn()`,
      { o1: 13 },
      'PT400',
    ],
    [
      'that a trigger of the user swallows',
      `create function #_fn() returns trigger language plpgsql as $$ begin if new.score = 13 then return null; end if; return new; end $$; create trigger t before update on # for each row execute function #_fn()`,
      { o1: 13 },
      null,
    ],
    ['that is too long for an index', 'create index on # (summary)', { o0: randomText(3000) }, '54000'],
    [
      'that a trigger of the user refuses as a policy would',
      `create function #_fn() returns trigger language plpgsql as $$ begin if new.score = 13 then raise sqlstate '42501' using message = 'not yours'; end if; return new; end $$; create trigger t before update on # for each row execute function #_fn()`,
      { o1: 13 },
      '42501',
    ],
    [
      'at which a trigger names what is not there',
      `create function #_fn() returns trigger language plpgsql as $$ begin if new.score = 13 then perform * from nowhere_at_all; end if; return new; end $$; create trigger t before update on # for each row execute function #_fn()`,
      { o1: 13 },
      '42P01',
    ],
    [
      'that a trigger of the user asserts against',
      `create function #_fn() returns trigger language plpgsql as $$ begin assert new.score <> 13, 'unlucky'; return new; end $$; create trigger t before update on # for each row execute function #_fn()`,
      { o1: 13 },
      'P0004',
    ],
  ])('a value %s fails its row alone, and 999 neighbours are written', async (_what, ddl, bad, code) => {
    await sql.unsafe(ddl.replaceAll('#', table));
    await insertFilms(sql, 1, 1000, table);
    if ('twin' in bad)
      await sql.unsafe(
        `insert into ${table} (id, score) values (5000, 7); delete from rowmill.pending_keys where keys = '[[5000]]'`,
      );
    const { batchId, rows } = await endedBatch(sql, name);
    const answers = rows.map((row) => ({
      ...answer(row, 'x', 1),
      ...(row.n === 500 ? { ...bad, twin: undefined } : {}),
    }));
    expect(await apply(sql, batchId, { answers })).toEqual({ ...none, enriched: 999, failed: 1 });
    expect(await sql.unsafe(`select from ${table} where summary = 'x'`)).toHaveLength(999);
    const [row] =
      await sql`select key, error_class, code, message, attempts, is_final from rowmill.failures where pipeline_id = ${id}`;
    expect(row).toMatchObject({
      key: [501],
      error_class: 'type_mismatch',
      attempts: 1,
      is_final: false,
      message: expect.stringContaining('Postgres refused the answer: '),
    });
    if (code) expect(row!.code).toBe(code);
    expect(await queuedKeys(sql, id)).toEqual([[501]]);
  });

  it('triggers of the user find what they name as in any other session', async () => {
    await sql.unsafe(`
      create table ${table}_log (id bigint);
      create function ${table}_log_it() returns trigger language plpgsql as
        $$ begin insert into ${name}_log values (new.id); return new; end $$;
      create trigger log_it after update on ${table} for each row execute function ${table}_log_it()`);
    const { batchId, rows } = await inserted(2);
    expect(await apply(sql, batchId, { answers: rows.map((row) => answer(row, 'x', 1)) })).toMatchObject({
      enriched: 2,
    });
    expect(await sql.unsafe(`select id from ${table}_log order by 1`)).toEqual([{ id: 1 }, { id: 2 }]);
  });

  it('an answer never asks again for its own row, and what a trigger edits besides is queued', async () => {
    await sql`select rowmill.drop_pipeline(${name})`;
    await sql.unsafe(`
      create function ${table}_touch() returns trigger language plpgsql as
        $$ begin new.note := clock_timestamp(); return new; end $$;
      create trigger touch before update on ${table} for each row execute function ${table}_touch();
      create function ${table}_next() returns trigger language plpgsql as
        $$ begin update ${table} set title = 'after ' || new.id where id = new.id + 1 and pg_trigger_depth() < 2; return null; end $$;
      create trigger next after update on ${table} for each row execute function ${table}_next()`);
    id = await createPipeline(sql, { name, source: table, filter: 'note is null or note <> title' });
    await insertFilms(sql, 1, 2, table);
    await sql`update rowmill.pending_keys set keys = '[[1]]', row_count = 1 where pipeline_id = ${id}`;
    const { batchId, rows } = await endedBatch(sql, name);
    expect(await apply(sql, batchId, { answers: [answer(rows[0]!, 'x')] })).toMatchObject({ enriched: 1 });
    expect(await queuedKeys(sql, id)).toEqual([[2]]);
    await sql.unsafe(`update ${table} set title = 'edited' where id = 1`);
    expect(new Set((await queuedKeys(sql, id)).map(([key]) => key))).toEqual(new Set([1, 2]));
  });

  it('what is no row’s fault is raised, and the slice can be tried again', async () => {
    const { batchId, rows } = await inserted(10);
    const slice = { answers: rows.map((row) => answer(row, 'x', 1)) };
    await sql.unsafe(
      `alter table ${table} rename column summary to gist; alter table ${table} drop column score`,
    );
    expect((await refusal(apply(sql, batchId, slice))).code).toBe('RM201');
    expect(await batchRow(batchId)).toMatchObject({ state: 'ended', output_position: 0 });
    expect(await failures()).toEqual([]);
  });

  it('a right that a trigger lacks for every row is no row’s fault, and raised as it is', async () => {
    const { batchId, rows } = await inserted(20);
    await sql.unsafe(`
      create function ${table}_fn() returns trigger language plpgsql as
        $$ begin raise sqlstate '42501' using message = 'not yours'; end $$;
      create trigger t before update on ${table} for each row execute function ${table}_fn()`);
    const slice = { answers: rows.map((row) => answer(row, 'x', 1)) };
    expect(await refusal(apply(sql, batchId, slice))).toMatchObject({ code: '42501', message: 'not yours' });
    expect(await failures()).toEqual([]);
    await sql.unsafe(`drop trigger t on ${table}`);
    expect(await apply(sql, batchId, slice)).toEqual({ ...none, enriched: 20 });
  });

  it('what the statement itself lacks is found without trying each row', async () => {
    const { batchId, rows } = await inserted(1000);
    await sql.unsafe(`
      create sequence ${table}_runs;
      create function ${table}_fn() returns trigger language plpgsql as
        $$ begin perform nextval('${table}_runs'); raise sqlstate '42501' using message = 'not yours'; end $$;
      create trigger t before update on ${table} for each statement execute function ${table}_fn()`);
    expect(
      (await refusal(apply(sql, batchId, { answers: rows.map((row) => answer(row, 'x', 1)) }))).code,
    ).toBe('42501');
    const [runs] = await sql.unsafe(`select last_value from ${table}_runs`);
    expect(Number(runs!.last_value)).toBe(2);
  });

  it('a lock that is waited for in vain is no row’s fault', async () => {
    const { batchId, rows } = await inserted(10);
    const slice = { answers: rows.map((row) => answer(row, 'x', 1)) };
    await sql.begin(async (tx) => {
      await tx.unsafe(`lock table ${table} in share mode`);
      const waiting = sql.begin(async (other) => {
        await other`set local lock_timeout = '50ms'`;
        await apply(other, batchId, slice);
      });
      expect((await refusal(waiting)).code).toBe('55P03');
    });
    expect(await failures()).toEqual([]);
    expect(await apply(sql, batchId, slice)).toEqual({ ...none, enriched: 10 });
  });

  it('a failed row is sent until its attempts are used up, then named in row_failures', async () => {
    const first = await inserted(1);
    await apply(sql, first.batchId, { failures: [failure(first.rows[0]!)] });
    expect(await failures()).toMatchObject([{ attempts: 1, is_final: false }]);
    expect(await sql`select from rowmill.row_failures where pipeline = ${name}`).toHaveLength(0);
    const [wait] =
      await sql`select queued_at - now() > interval '10 seconds' as waits from rowmill.pending_keys where pipeline_id = ${id}`;
    expect(wait!.waits).toBe(true);
    await sql`update rowmill.pending_keys set queued_at = now() where pipeline_id = ${id}`;
    const second = await endedBatch(sql, name);
    await apply(sql, second.batchId, { failures: [failure(second.rows[0]!, { class: 'timeout' })] });
    expect(await queuedKeys(sql, id)).toEqual([]);
    expect(
      await sql`select key, error_class, message, attempts from rowmill.row_failures where pipeline = ${name}`,
    ).toEqual([{ key: [1], error_class: 'timeout', message: 'the provider stumbled', attempts: 2 }]);
  });

  it('a failure that is not retried is final at once', async () => {
    const { batchId, rows } = await inserted(1);
    await apply(sql, batchId, { failures: [failure(rows[0]!, { class: 'refused', retried: false })] });
    expect(await failures()).toMatchObject([{ attempts: 1, is_final: true }]);
  });

  it('a failure that does not count uses no attempt, and is queued at once', async () => {
    await insertFilms(sql, 1, 1, table);
    for (let round = 0; round < 4; round += 1) {
      const { batchId, rows } = await endedBatch(sql, name);
      expect(rows).toHaveLength(1);
      await apply(sql, batchId, {
        failures: [failure(rows[0]!, { class: 'batch_expired', counted: false })],
      });
      expect(await failures()).toMatchObject([{ attempts: 0, is_final: false }]);
    }
  });

  it('a success takes the failure away, and an edit its count', async () => {
    const first = await inserted(2);
    await apply(sql, first.batchId, { failures: first.rows.map((row) => failure(row)) });
    await sql`update rowmill.pending_keys set queued_at = now() where pipeline_id = ${id}`;
    await sql.unsafe(`update ${table} set title = 'edited' where id = 2`);
    const second = await endedBatch(sql, name);
    expect(await failures()).toMatchObject([{ key: [1], attempts: 1 }]);
    const [same, edited] = second.rows;
    await apply(sql, second.batchId, { answers: [answer(same!, 'x', 1)], failures: [failure(edited!)] });
    expect(await failures()).toMatchObject([{ key: [2], attempts: 1, is_final: false }]);
  });

  it('a row that is in a batch under two inputs is settled under both', async () => {
    await insertFilms(sql, 1, 1, table);
    await sql`select rowmill.flush(${name})`;
    const early = await takeChunks(sql, name);
    await sql.unsafe(`update ${table} set title = 'edited'`);
    await sql`select rowmill.flush(${name})`;
    const late = await takeChunks(sql, name);
    const batch = await startBatch(sql, {
      chunkIds: [...early.chunkIds, ...late.chunkIds],
      rows: [...early.rows, ...late.rows],
    });
    await endBatch(sql, batch.batchId);
    const rest = await finishHarvest(sql, batch.batchId, { class: 'batch_expired', counted: false });
    expect(rest).toBe(2);
    expect(await failures()).toHaveLength(1);
    expect(await sql`select hash from rowmill.failures where pipeline_id = ${id}`).toEqual([
      { hash: late.rows[0]!.h },
    ]);
    expect(new Set((await queuedKeys(sql, id)).map(([key]) => key))).toEqual(new Set([1]));
  });

  it('answers for a table that was dropped meanwhile are gone, and the batch ends', async () => {
    const { batchId, rows } = await inserted(3);
    await sql.unsafe(`drop table ${table}`);
    expect(
      await apply(sql, batchId, { answers: [answer(rows[0]!, 'x', 1)], failures: [failure(rows[1]!)] }),
    ).toMatchObject({ gone: 1, failed: 1 });
    await finishHarvest(sql, batchId);
    expect(await sql`select rowmill.finish_batch(${batchId}, 'w') as done`).toEqual([{ done: true }]);
    await tick(sql);
    await sql`select rowmill.drop_pipeline(${name})`;
    await emptyQueue(sql, id);
  });
});

/** Text that no compression makes shorter: two bytes for each letter. */
function randomText(letters: number): string {
  return Array.from({ length: letters }, () =>
    String.fromCodePoint(0x4e00 + Math.floor(Math.random() * 20_000)),
  ).join('');
}
