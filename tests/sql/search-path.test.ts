import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  createFilms,
  createPipeline,
  endedBatch,
  insertFilms,
} from '../support/sql-factories.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

/** Fit the arguments better than pg_catalog's own, which take any type: a call without a schema would pick these. */
const decoys = [
  ['array_send(bytea[])', 'bytea'],
  ['convert_to(text, text)', 'bytea'],
  ['jsonb_build_object(text, jsonb, text, text)', 'jsonb'],
  ['jsonb_build_array(bigint)', 'jsonb'],
  ['to_jsonb(text[])', 'jsonb'],
];

it('functions that others put on the search path are not called while answers are written', async () => {
  const { sql } = database;
  await createFilms(sql);
  await sql`create type mood as enum ('calm', 'tense')`;
  await sql`alter table films add column tags text[] default '{a}', add column mood mood default 'calm'`;
  await createPipeline(sql, { prompt: '{{title}} {{tags}} {{mood}}' });
  await insertFilms(sql, 1, 20);
  const batch = await endedBatch(sql, 'films');
  for (const [signature, type] of decoys) {
    await sql.unsafe(`
      create function public.${signature} returns ${type} language plpgsql
      as $$ begin raise exception 'called with the rights of %', current_user; end $$`);
  }
  await sql`update films set title = 'edited' where id = 7`;
  await sql`delete from films where id = 8`;
  const counts = await apply(sql, batch.batchId, {
    answers: batch.rows.map((row) => answer(row, 'an answer')),
  });
  expect(counts).toMatchObject({ enriched: 18, stale: 1, gone: 1, failed: 0 });
});
