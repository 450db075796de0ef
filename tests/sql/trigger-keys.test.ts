import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  createFilms,
  createPipeline,
  emptyQueue,
  endedBatch,
  problemOf,
  queuedKeys,
  tick,
} from '../support/sql-factories.ts';

describe('row keys', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let tables = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql.unsafe(`create type public.mood as enum ('glad', 'sad'); create domain public.code as text`);
  });
  afterAll(() => database.drop());

  /** Queued on insert, on edit and by a backfill, the same key; and an answer finds its row by it. */
  async function travels(keyColumns: string, key: string, values: string[]): Promise<unknown[][]> {
    tables += 1;
    const name = `keys_${tables}`;
    await sql.unsafe(
      `create table public.${name} (${keyColumns}, title text, summary text, primary key (${key}))`,
    );
    const id = await createPipeline(sql, { name, source: `public.${name}` });
    const columns = key === 'made' ? 'base' : key;
    for (const value of values) {
      await sql.unsafe(`insert into public.${name} (${columns}, title) values (${value}, 'a')`);
    }
    const inserted = await queuedKeys(sql, id);
    await emptyQueue(sql, id);
    await sql.unsafe(
      `insert into public.${name} (${columns}, title) select ${columns}, 'b' from public.${name} where false`,
    );
    await sql.unsafe(`update public.${name} set title = 'edited'`);
    const edited = await queuedKeys(sql, id);
    await emptyQueue(sql, id);
    await sql`select rowmill.backfill(${name})`;
    await tick(sql);
    const backfilled = await queuedKeys(sql, id);
    const sorted = (keys: unknown[][]) => keys.map((one) => JSON.stringify(one)).sort();
    expect(sorted(edited)).toEqual(sorted(inserted));
    expect(sorted(backfilled)).toEqual(sorted(inserted));
    expect(await problemOf(sql, name)).toBeNull();

    const batch = await endedBatch(sql, name);
    expect(batch.rows).toHaveLength(values.length);
    await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, 'done')) });
    expect(await sql.unsafe(`select from public.${name} where summary is distinct from 'done'`)).toHaveLength(
      0,
    );
    return inserted;
  }

  it.each<[string, string, string[], unknown[]]>([
    ['smallint', 'k smallint', ['1', '-2'], [1, -2]],
    ['bigint', 'k bigint', ['9007199254740991'], [9_007_199_254_740_991]],
    ['numeric', 'k numeric(30, 2)', ['1.50', '-0.01'], [1.5, -0.01]],
    [
      'text',
      'k text',
      [`'it''s "quoted" \\ and, [odd]'`, `'Amélie 映画 🎬'`, `''`],
      ['it\'s "quoted" \\ and, [odd]', 'Amélie 映画 🎬', ''],
    ],
    ['varchar', 'k varchar(5)', [`'abc'`], ['abc']],
    ['char', 'k char(5)', [`'abc'`], ['abc  ']],
    ['uuid', 'k uuid', [`'6F9619FF-8B86-D011-B42D-00CF4FC964FF'`], ['6f9619ff-8b86-d011-b42d-00cf4fc964ff']],
    ['boolean', 'k boolean', ['true', 'false'], [true, false]],
    ['bytea', 'k bytea', [`'\\x00ff'`], ['\\x00ff']],
    ['date', 'k date', [`'2024-02-29'`], ['2024-02-29']],
    ['timestamp', 'k timestamp', [`'2024-02-29 12:00:00.000001'`], ['2024-02-29T12:00:00.000001']],
    ['interval', 'k interval', [`'1 month 2 days'`], ['1 mon 2 days']],
    ['double precision', 'k double precision', ['0.1', `'infinity'`], [0.1, 'Infinity']],
    ['enum', 'k public.mood', [`'sad'`], ['sad']],
    ['domain', 'k public.code', [`'x'`], ['x']],
    ['inet', 'k inet', [`'10.0.0.1'`], ['10.0.0.1']],
    ['range', 'k tstzrange', [`'[2024-01-01 00:00+00,)'`], ['["2024-01-01 00:00:00+00",)']],
  ])('a key of type %s is queued and found again', async (_type, column, values, keys) => {
    expect(await travels(column, 'k', values)).toEqual(keys.map((key) => [key]));
  });

  it('a key of several columns is queued in the order of the primary key', async () => {
    expect(await travels('a int, b text, c uuid default null', 'b, a', [`'x', 1`, `'x', 2`])).toEqual([
      ['x', 1],
      ['x', 2],
    ]);
  });

  it('a key that Postgres makes is queued: identity and generated', async () => {
    expect(await travels('base int, made int generated always as (base * 10) stored', 'made', ['4'])).toEqual(
      [[40]],
    );
    await sql.unsafe(
      'create table public.numbered (id bigint generated always as identity primary key, title text, summary text)',
    );
    const id = await createPipeline(sql, { name: 'numbered', source: 'public.numbered' });
    await sql`insert into public.numbered (title) values ('a'), ('b')`;
    expect(await queuedKeys(sql, id)).toEqual([[1], [2]]);
  });

  it.each([
    ['timestamptz', `'2024-06-01 12:00:00+00'`],
    ['timetz', `'12:00:00+02'`],
    ['tstzrange', `'[2024-06-01 12:00:00+00,2024-06-02 12:00:00+00)'`],
    ['double precision', '0.1 + 0.2'],
    ['interval', `'1 day 2 hours'`],
    ['bytea', `'\\x00ff'`],
  ])('a key of type %s is the same whatever a session has set', async (type, value) => {
    tables += 1;
    const name = `keys_${tables}`;
    await sql.unsafe(`create table public.${name} (k ${type} primary key, title text, summary text)`);
    const id = await createPipeline(sql, { name, source: `public.${name}` });
    await sql.unsafe(`insert into public.${name} (k, title) values (${value}, 'a')`);
    await sql.begin(async (tx) => {
      await tx.unsafe(`
        set local timezone = 'Asia/Tokyo'; set local datestyle = 'SQL, DMY'; set local intervalstyle = 'iso_8601';
        set local bytea_output = 'escape'; set local extra_float_digits = -3`);
      await tx.unsafe(`update public.${name} set title = 'b'`);
      await tx.unsafe(`delete from public.${name}`);
      await tx.unsafe(`insert into public.${name} (k, title) values (${value}, 'c')`);
    });
    const keys = await queuedKeys(sql, id);
    expect(keys).toHaveLength(3);
    expect(new Set(keys.map((key) => JSON.stringify(key))).size).toBe(1);
  });

  it('names in capitals, with quotes, and words of SQL are names like any other', async () => {
    await sql.unsafe(`
      create table public."My ""odd"" Table" (
        "Group" int, "select" text, "per%cent $body$ 'x'" text, "Out ""put""" text, "from" jsonb, primary key ("Group", "select")
      )`);
    const id = await createPipeline(sql, {
      name: 'odd',
      source: 'public."My ""odd"" Table"',
      prompt: `{{per%cent $body$ 'x'}} {{SELECT}}`,
      outputs: ['Out "put"', 'from'],
      filter: `"My ""odd"" Table"."Group" > 0 and "per%cent $body$ 'x'" like '%'`,
    });
    await sql.unsafe(`insert into public."My ""odd"" Table" values (1, 'a', 'b'), (0, 'not selected', 'b')`);
    await sql.unsafe(`update public."My ""odd"" Table" set "per%cent $body$ 'x'" = 'c' where "Group" = 1`);
    expect(await queuedKeys(sql, id)).toEqual([
      [1, 'a'],
      [0, 'not selected'],
      [1, 'a'],
    ]);
    const batch = await endedBatch(sql, 'odd');
    expect(batch.rows.map((row) => row.input)).toEqual([{ select: 'a', "per%cent $body$ 'x'": 'c' }]);
    await apply(sql, batch.batchId, { answers: [answer(batch.rows[0]!, 'done', { a: 1 })] });
    const [row] = await sql.unsafe(
      `select "Out ""put""" as text, "from" as json from public."My ""odd"" Table" where "Group" = 1`,
    );
    expect(row).toEqual({ text: 'done', json: { a: 1 } });
  });

  it('a column named like the end of a function is no way into it', async () => {
    await createFilms(sql, 'public.quoted');
    const id = await createPipeline(sql, { name: 'quoted', source: 'public.quoted' });
    await sql.unsafe(`alter table public.quoted rename column id to "x) $body$ $function$; select 1/0; --"`);
    await sql.unsafe('insert into public.quoted values (1)');
    await tick(sql);
    await sql.unsafe('insert into public.quoted values (2)');
    expect(await problemOf(sql, 'quoted')).toBeNull();
    expect(await queuedKeys(sql, id)).toEqual([[1], [2]]);
  });

  it('rows go on being queued and enriched whatever is renamed, before and after the tick', async () => {
    await sql.unsafe('create table public.movies (id int primary key, title text, year int, summary text)');
    const id = await createPipeline(sql, {
      name: 'movies',
      source: 'public.movies',
      prompt: '{{title}}',
      filter: 'movies.year > 1900',
    });
    await sql`insert into public.movies values (1, 'a', 2000), (2, 'b', 2000)`;
    const early = await endedBatch(sql, 'movies');
    await sql.unsafe(`
      create schema archive;
      alter table public.movies set schema archive;
      alter table archive.movies rename to films;
      alter table archive.films rename column id to film_id;
      alter table archive.films rename column title to heading;
      alter table archive.films rename column year to made_in;
      alter table archive.films rename column summary to gist`);
    // a bystander takes the old names
    await sql.unsafe(`create table public.movies (id int primary key, title text, year int, summary text)`);

    for (const round of [10, 20]) {
      const ids = Array.from({ length: 1500 }, (_, at) => [round * 1000 + at]);
      await sql.unsafe(
        `insert into archive.films select n, 'x', 2000 from generate_series(${round * 1000}, ${round * 1000 + 1499}) as n`,
      );
      await sql.unsafe(`insert into archive.films values (${round}, 'x', 2000)`);
      await sql.unsafe(`update archive.films set heading = 'edited' where film_id = ${round}`);
      await sql.unsafe(`update archive.films set made_in = 2001 where film_id = ${round}`);
      await sql.unsafe(`update archive.films set film_id = ${round + 1} where film_id = ${round}`);
      const keys = [...ids, [round], [round], [round], [round + 1]].map(([key]) => key as number);
      expect((await queuedKeys(sql, id)).map(([key]) => key as number).sort((a, b) => a - b)).toEqual(
        keys.sort((a, b) => a - b),
      );
      expect(await problemOf(sql, 'movies')).toBeNull();
      await emptyQueue(sql, id);
      await tick(sql);
    }
    expect(
      (await apply(sql, early.batchId, { answers: early.rows.map((row) => answer(row, 'done')) }))?.enriched,
    ).toBe(2);
    await sql`insert into archive.films values (99, 'late', 1999), (98, 'left out', 1899)`;
    const late = await endedBatch(sql, 'movies');
    // the answer's property and the prompt's column keep their names
    expect(late.rows.map((row) => row.input)).toEqual([{ title: 'late' }]);
    await apply(sql, late.batchId, { answers: [answer(late.rows[0]!, 'found')] });
    expect(await sql`select film_id, gist from archive.films where gist is not null order by 1`).toEqual([
      { film_id: 1, gist: 'done' },
      { film_id: 2, gist: 'done' },
      { film_id: 99, gist: 'found' },
    ]);
  });
});
