import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  alterPipeline,
  answer,
  apply,
  createPipeline,
  emptyQueue,
  endedBatch,
  type HeldRow,
  queuedKeys,
  takeChunks,
  tick,
} from '../support/sql-factories.ts';

describe('answers into another table', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let id: number;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql.unsafe(`
      create table public.films (studio text, id bigint, title text, primary key (studio, id));
      create table public.gists (
        summary text, score integer, by text, id bigint, "Studio" text, note text default 'new', unique ("Studio", id)
      )`);
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    await sql.unsafe('truncate films, gists; drop trigger if exists t on gists');
    await sql`select rowmill.drop_pipeline(p.name) from rowmill.pipelines as p where p.state <> 'dropped'`;
    id = await createPipeline(sql, {
      ...{ target: 'public.gists', outputs: ['summary', 'score'], provenance: { by: '$model' } },
      ...{ max_attempts: 1 },
    });
  });

  const none = { enriched: 0, stale: 0, gone: 0, failed: 0, duplicate: 0, unknown: 0 };
  const insert = (count: number) =>
    sql`insert into films select 'a "quoted" studio', n, 'film ' || n from generate_series(1, ${count}::integer) as n`;
  const gists = async () => await sql`select * from gists order by id`;
  const about = (row: HeldRow) => answer(row, `about ${row.input.title}`, 7);
  async function inserted(count: number) {
    await insert(count);
    return await endedBatch(sql, 'films');
  }

  it('are inserted with the key of their row, and update what is there', async () => {
    const { batchId, rows } = await inserted(2);
    const studio = 'a "quoted" studio';
    await sql`insert into gists (id, "Studio", summary, note) values (2, ${studio}, 'old', 'kept')`;
    expect(await apply(sql, batchId, { answers: rows.map(about) })).toEqual({ ...none, enriched: 2 });
    const both = { score: 7, by: 'gpt-4o-mini', Studio: studio };
    expect(await gists()).toEqual([
      { ...both, id: 1, summary: 'about film 1', note: 'new' },
      { ...both, id: 2, summary: 'about film 2', note: 'kept' },
    ]);
    expect(await queuedKeys(sql, id)).toEqual([]);
  });

  it('of a row that was edited are stale, and the row goes round again', async () => {
    const { batchId, rows } = await inserted(2);
    await sql`update films set title = 'edited' where id = 1`;
    expect(await apply(sql, batchId, { answers: rows.map(about) })).toEqual({
      ...none,
      enriched: 1,
      stale: 1,
    });
    expect(await gists()).toMatchObject([{ id: 2 }]);
    const again = await endedBatch(sql, 'films');
    expect(again.rows.map((row) => row.input.title)).toEqual(['edited']);
  });

  it('of a row that was deleted are gone, and insert nothing', async () => {
    const { batchId, rows } = await inserted(1);
    await sql`delete from films`;
    expect(await apply(sql, batchId, { answers: rows.map(about) })).toEqual({ ...none, gone: 1 });
    expect(await gists()).toEqual([]);
  });

  it('are not written over an edit that commits while they wait for it', async () => {
    const { batchId, rows } = await inserted(1);
    let applied: Promise<unknown> | undefined;
    await sql.begin(async (tx) => {
      await tx`update films set title = 'edited'`;
      applied = apply(sql, batchId, { answers: rows.map(about) });
      await tx`select pg_sleep(0.2)`;
    });
    expect(await applied).toEqual({ ...none, stale: 1 });
    expect(await gists()).toEqual([]);
  });

  it('hold off an edit until they are committed', async () => {
    const { batchId, rows } = await inserted(1);
    let edited: Promise<unknown> | undefined;
    let isThrough = false;
    await sql.begin(async (tx) => {
      await apply(tx, batchId, { answers: rows.map(about) });
      edited = sql`update films set title = 'edited'`.then(() => {
        isThrough = true;
      });
      await tx`select pg_sleep(0.2)`;
      expect(isThrough).toBe(false);
    });
    await edited;
    expect(await queuedKeys(sql, id)).toHaveLength(1);
  });

  it('that a trigger of the target leaves out fail their row, and theirs alone', async () => {
    await sql.unsafe(`
      create or replace function public.keep() returns trigger language plpgsql as
        $$ begin return case when new.id = 1 then null else new end; end $$;
      create trigger t before insert on public.gists for each row execute function public.keep()`);
    const { batchId, rows } = await inserted(3);
    expect(await apply(sql, batchId, { answers: rows.map(about) })).toEqual({
      ...none,
      enriched: 2,
      failed: 1,
    });
    expect(await sql`select key, message from rowmill.failures`).toMatchObject([
      { key: ['a "quoted" studio', 1], message: expect.stringContaining('kept the row as it was') },
    ]);
  });

  it('that a trigger of the target keeps from updating fail their row as well', async () => {
    const { batchId, rows } = await inserted(1);
    await sql.unsafe(`
      create or replace function public.keep() returns trigger language plpgsql as $$ begin return null; end $$;
      insert into public.gists (id, "Studio") values (1, 'a "quoted" studio');
      create trigger t before update on public.gists for each row execute function public.keep()`);
    expect(await apply(sql, batchId, { answers: rows.map(about) })).toEqual({ ...none, failed: 1 });
  });

  it('that Postgres refuses fail their row alone', async () => {
    const { batchId, rows } = await inserted(3);
    const answers = rows.map((row, at) => answer(row, 'x', at === 1 ? 'seven' : 7));
    expect(await apply(sql, batchId, { answers })).toEqual({ ...none, enriched: 2, failed: 1 });
  });

  it('for a target that was dropped are gone', async () => {
    await sql`create table fleeting (studio text, id bigint, summary text, primary key (studio, id))`;
    await createPipeline(sql, { name: 'fleeting', target: 'public.fleeting' });
    await insert(1);
    const { batchId, rows } = await endedBatch(sql, 'fleeting');
    await sql`drop table fleeting`;
    expect(await apply(sql, batchId, { answers: rows.map((row) => answer(row, 'x')) })).toEqual({
      ...none,
      gone: 1,
    });
  });

  it('of an older version are not written over newer ones', async () => {
    const first = await inserted(2);
    await alterPipeline(sql, 'films', { model: 'x' });
    await sql`select rowmill.backfill('films')`;
    await tick(sql);
    const second = await endedBatch(sql, 'films');
    await apply(sql, second.batchId, { answers: [answer(second.rows[0]!, 'newer', 2)] });
    expect(await apply(sql, first.batchId, { answers: first.rows.map(about) })).toMatchObject({
      ...{ enriched: 1, stale: 1 },
    });
    expect((await gists()).map((row) => [row.summary, row.by]).sort()).toEqual([
      ['about film 2', 'gpt-4o-mini'],
      ['newer', 'x'],
    ]);
  });

  it('that are not there yet are what only_missing looks for', async () => {
    await insert(3);
    await emptyQueue(sql, id);
    const studio = 'a "quoted" studio';
    await sql`insert into gists (id, "Studio", summary) values (1, ${studio}, 'there'), (2, ${studio}, null)`;
    await sql`select rowmill.backfill('films', only_missing => true)`;
    await tick(sql);
    expect(await queuedKeys(sql, id)).toEqual([
      [studio, 2],
      [studio, 3],
    ]);
    await sql`select rowmill.flush('films')`;
    await sql`update gists set score = 1 where id = 2`;
    expect((await takeChunks(sql, 'films')).rows.map((row) => row.input.title)).toEqual(['film 3']);
    expect(
      (await sql`select state from rowmill.why('films', ${JSON.stringify([studio, 1])})`)[0]!.state,
    ).toBe('enriched');
  });

  it('are what a pipeline over the target waits for, whether they are inserted or updated', async () => {
    await sql`create table keyed (studio text, id bigint, summary text, note text, primary key (studio, id))`;
    const reading = { source: 'public.keyed', prompt: '{{summary}}', outputs: ['note'] };
    const next = await createPipeline(sql, { name: 'next', ...reading });
    await createPipeline(sql, { name: 'into', target: 'public.keyed' });
    const [parts] = await sql`select (rowmill.source_parts_of(${next})).selected as selected`;
    expect(parts!.selected).toContain('summary is not null');
    await insert(1);
    const first = await endedBatch(sql, 'into');
    await apply(sql, first.batchId, { answers: first.rows.map((row) => answer(row, 'one')) });
    expect((await endedBatch(sql, 'next')).rows.map((row) => row.input.summary)).toEqual(['one']);
    await sql`update films set title = 'edited'`;
    const second = await endedBatch(sql, 'into');
    await apply(sql, second.batchId, { answers: second.rows.map((row) => answer(row, 'two')) });
    expect((await endedBatch(sql, 'next')).rows.map((row) => row.input.summary)).toEqual(['two']);
  });
});
