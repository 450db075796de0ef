import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createPipeline, problemOf, tick } from '../support/sql-factories.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
  const { sql } = database;
  await sql.unsafe(`
    create table films (id bigint, year integer, title text, summary text, primary key (id, year)) partition by range (year);
    create table films_old partition of films for values from (1900) to (2000)`);
  await createPipeline(sql, { chunk_size: 10 });
});
afterAll(() => database.drop());

const insert = (from: number, year: number) =>
  database.sql`insert into films (id, year, title) select n, ${year}, 'film ' || n from generate_series(${from}::int, ${from}::int + 4) as n`;

it('a table that somebody writes to keeps a new partition waiting, and no chunk', async () => {
  const { sql } = database;
  await insert(1, 1950);
  await sql`update rowmill.pending_keys set queued_at = now() - interval '1 hour'`;
  const table = 'create table films_new partition of films for values from (2000) to (2100)';
  await sql.unsafe(table);
  await sql.begin(async (writer) => {
    await writer`insert into films (id, year, title) values (100, 2060, 'film 100')`;
    expect(await tick(sql)).toMatchObject({ formed: 1 });
  });
  expect(await problemOf(sql, 'films')).toBeNull();
});

it('a tick that locked a table to put a trigger on it ends before it does anything else', async () => {
  const { sql } = database;
  await sql`update rowmill.pending_keys set queued_at = now() - interval '1 hour'`;
  expect(await tick(sql)).toMatchObject({ formed: 0, more: true });
  expect(await tick(sql)).toMatchObject({ formed: 1, more: false });
  await sql`insert into films_new (id, year, title) values (200, 2050, 'film 200')`;
  expect(await sql`select keys from rowmill.pending_keys`).toEqual([{ keys: [[200, 2050]] }]);
});
