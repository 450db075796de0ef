import { afterAll, beforeAll, expect, it } from 'vitest';
import { createSqlWorker } from '../money/sql-worker.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createFilms, createPipeline, insertFilms } from '../support/sql-factories.ts';

let database: TestDatabase;
let sql: TestDatabase['sql'];
beforeAll(async () => {
  database = await createDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());

it('what reserves waits for its turn, and for nothing that a stranger can lock', async () => {
  await createFilms(sql);
  await createPipeline(sql, { chunk_size: 1 });
  await insertFilms(sql, 1, 1);
  await sql`select rowmill.flush('films')`;
  await sql`update rowmill.settings set fetch_after = '0 seconds'`;
  const worker = createSqlWorker(sql);
  const taken = await worker.hold((await worker.claim(1)).flat());

  const stranger = await sql.reserve();
  await stranger`select pg_advisory_lock(hashtextextended('rowmill.reserve', 0))`;
  const other = await sql.reserve();
  await other`begin`;
  await other`select from rowmill.locks where name = 'reserve' for update`;
  const beginning = worker.begin(taken);
  const waiting = () => sql`
    select from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like '%rowmill.begin_batch(%'`;
  await expect.poll(async () => (await waiting()).length).toBe(1);
  await other`commit`;
  expect(await beginning).toMatchObject({ status: 'begun' });
  other.release();
  await stranger`select pg_advisory_unlock_all()`;
  stranger.release();
});
