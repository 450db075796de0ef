import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  createFilms,
  createPipeline,
  endedBatch,
  finishHarvest,
  insertFilms,
  takeChunks,
} from '../support/sql-factories.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

it('a row that is answered between being read and being held for a chunk of missing rows is not sent again', async () => {
  const { sql } = database;
  await createFilms(sql);
  await createPipeline(sql);
  await insertFilms(sql, 1, 3);
  const batch = await endedBatch(sql, 'films');
  await sql`select rowmill.backfill('films', only_missing => true)`;
  // As if they had been in nobody's hands when the backfill came by.
  await sql`insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
    select id, '[[1], [2], [3]]', 3, true from rowmill.pipelines`;
  await sql`select rowmill.flush('films')`;
  const [chunk] = await sql`select id from rowmill.chunks where state = 'waiting'`;
  await sql`select * from rowmill.claim_chunk(${chunk!.id}, 'films', 'w')`;
  const read = await sql<
    { n: number; hash: string }[]
  >`select n, hash from rowmill.read_chunk(${chunk!.id}) order by n`;
  expect(read).toHaveLength(3);

  await apply(sql, batch.batchId, { answers: batch.rows.slice(0, 2).map((row) => answer(row, 'an answer')) });
  const hold = () => sql`select n from rowmill.hold_rows(${chunk!.id}, 'w', ${sql.json(read)})`;
  // Film 3 is in flight in the first batch still.
  expect(await hold()).toEqual([]);

  await finishHarvest(sql, batch.batchId);
  expect(await hold()).toEqual([{ n: 2 }]);
  expect(await sql`select n from rowmill.chunk_rows where chunk_id = ${chunk!.id}`).toEqual([{ n: 2 }]);
  expect((await takeChunks(sql, 'films')).rows).toEqual([]);
});
