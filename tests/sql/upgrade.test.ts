import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { migrate } from '../../src/store/migrate.ts';
import { freezeRelease } from '../../tools/sql/release.ts';
import { readRooms } from '../../tools/sql/rooms.ts';
import { writeMigration } from '../../tools/sql/write-migration.ts';
import { catalogOf } from '../support/catalog.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  createFilms,
  createPipeline,
  endBatch,
  finishHarvest,
  insertFilms,
  startBatch,
  takeChunks,
  tick,
} from '../support/sql-factories.ts';
import { copySql, type SqlCopy } from '../tools/sql-copy.ts';

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one();
});

async function emptyDatabase(): Promise<TestDatabase> {
  const database = await createDatabase({ migrated: false });
  undo.push(() => database.drop());
  return database;
}

/** A table gets a column, a body that the column is written by changes, and a function comes. */
async function rehearse(copy: SqlCopy): Promise<void> {
  await freezeRelease(copy.directory, '0.1.0');
  await copy.setVersion('0.2.0');
  const comment = `comment on column rowmill.chunks.accepted_at is 'When a worker took it last.';\n`;
  await copy.edit(
    'schemas/tables/chunks.sql',
    '  keys jsonb,\n',
    '  keys jsonb,\n  accepted_at timestamptz,\n',
  );
  await copy.append('schemas/tables/chunks.sql', comment);
  await copy.write(
    'changes/0.2.0.sql',
    `alter table rowmill.chunks add column accepted_at timestamptz;\n${comment}`,
  );
  await copy.edit(
    'schemas/functions/chunks/claim_chunk.sql',
    `state = 'accepted',`,
    `state = 'accepted', accepted_at = rowmill.moment(),`,
  );
  await copy.write(
    'schemas/functions/chunks/moment.sql',
    `-- API: internal
create or replace function rowmill.moment()
returns timestamptz
language sql
set search_path = pg_catalog, pg_temp
as $$
  select clock_timestamp();
$$;
comment on function rowmill.moment is 'Now.';
revoke all on function rowmill.moment from public;
`,
  );
  await writeMigration(copy.directory);
}

it('a database with work in flight is upgraded to what a fresh one is, and goes on', async () => {
  const copy = await copySql();
  undo.push(() => copy.drop());
  const directory = path.join(copy.directory, 'migrations');
  const { url, sql } = await emptyDatabase();

  // 0.1.0, at work: a batch that is half harvested, one that runs, a claimed chunk and a queue
  expect((await migrate({ url, directory })).applied).toHaveLength(1);
  await createFilms(sql);
  await createPipeline(sql, { chunk_size: 2 });
  const takeFilms = async (from: number, to: number) => {
    await insertFilms(sql, from, to);
    await sql`select rowmill.flush('films')`;
    return await takeChunks(sql, 'films');
  };
  const half = await startBatch(sql, await takeFilms(1, 4));
  await endBatch(sql, half.batchId);
  const answersOf = (rows: typeof half.rows) => rows.map((row) => answer(row, `about ${row.input.title}`));
  expect(await apply(sql, half.batchId, { answers: answersOf(half.rows.slice(0, 2)) })).toMatchObject({
    enriched: 2,
  });
  const running = await startBatch(sql, await takeFilms(5, 8));
  const claimed = await takeFilms(9, 10);
  await insertFilms(sql, 11, 11);

  await rehearse(copy);
  expect((await migrate({ url, directory })).applied).toHaveLength(1);
  expect((await migrate({ url, directory })).applied).toEqual([]);

  const fresh = await emptyDatabase();
  await fresh.sql.begin(async (tx) => {
    await tx`set local check_function_bodies = off`;
    for (const room of await readRooms(copy.directory)) await tx.unsafe(room.text);
  });
  const options = { withColumnOrder: false };
  const catalog = await catalogOf(sql, options);
  expect(catalog).toEqual(await catalogOf(fresh.sql, options));
  expect(catalog.join('\n')).toContain(
    'column rowmill.chunks.accepted_at | any place | timestamp with time zone',
  );

  // what was in flight is applied, what was queued is sent, and the triggers queue what comes
  expect(await apply(sql, half.batchId, { answers: answersOf(half.rows.slice(2)) })).toMatchObject({
    enriched: 2,
  });
  await endBatch(sql, running.batchId);
  expect(await apply(sql, running.batchId, { answers: answersOf(running.rows) })).toMatchObject({
    enriched: 4,
  });
  const late = await startBatch(sql, claimed);
  await insertFilms(sql, 12, 13);
  await sql`update films set title = 'film 1, restored' where id = 1`;
  await tick(sql);
  await sql`select rowmill.flush('films')`;
  const rest = await startBatch(sql, await takeChunks(sql, 'films'));
  for (const batch of [late, rest]) {
    await endBatch(sql, batch.batchId);
    await apply(sql, batch.batchId, { answers: answersOf(batch.rows) });
  }
  for (const { batchId } of [half, running, late, rest]) expect(await finishHarvest(sql, batchId)).toBe(0);

  const unlike = await sql`select id from films where summary is distinct from 'about ' || title`;
  expect(unlike).toEqual([]);
  // each of 13 rows once, and the edited one again
  const [status] = await sql`
    select pending, waiting, in_flight, enriched, failed, stale, gone from rowmill.pipeline_status`;
  expect(status).toEqual({
    pending: 0,
    waiting: 0,
    in_flight: 0,
    enriched: 14,
    failed: 0,
    stale: 0,
    gone: 0,
  });
  const chunks = await sql<{ id: number; is_marked: boolean }[]>`
    select id, accepted_at is not null as is_marked from rowmill.chunks`;
  const last = Math.max(...claimed.chunkIds);
  expect(chunks.filter(({ id, is_marked }) => is_marked !== id > last)).toEqual([]);
  expect(chunks.some(({ id }) => id > last)).toBe(true);
});
