import { afterEach, beforeEach, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  begunBatch,
  createFilms,
  createPipeline,
  emptyQueue,
  endedBatch,
  insertFilms,
  problemOf,
  queuedKeys,
  takeChunks,
  tick,
} from '../support/sql-factories.ts';
import { createStranger, type Stranger } from './stranger.ts';

let database: TestDatabase;
let sql: TestDatabase['sql'];
let mallory: Stranger;
let id: number;
beforeEach(async () => {
  database = await createDatabase();
  sql = database.sql;
  await createFilms(sql);
  id = await createPipeline(sql, { chunk_size: 10 });
  mallory = await createStranger(database, 'grant select, update on public.films to $role');
});
afterEach(async () => {
  await mallory.leave();
  await database.drop();
});

/** The names under which functions once locked, and numbers that a stranger may guess. */
const guesses = `
  select pg_advisory_lock(hashtextextended(n, 0)) from unnest(array['rowmill', 'rowmill.reserve', 'rowmill.tick', 'rowmill.migrate']) as n;
  select pg_advisory_lock(60177411165);
  select pg_advisory_lock(n) from generate_series(0, 1000) as n`;

it('no lock that every role can take holds up a submission or a tick', async () => {
  await insertFilms(sql, 1, 10, 'public.films');
  const session = mallory.connect();
  await session.unsafe(guesses);
  expect(await tick(sql)).toMatchObject({ more: false });
  const { chunkIds } = await takeChunks(sql, 'films');
  await sql`set lock_timeout = '5s'`;
  expect(await begunBatch(sql, chunkIds)).toBe(1);
  const advisory = await sql`
    select p.proname from pg_proc as p where p.pronamespace = 'rowmill'::regnamespace and p.prosrc ~ 'pg_(try_)?advisory'`;
  expect(advisory).toEqual([]);
});

it('a role without rights can lock none of Rowmill’s own rows and tables', async () => {
  const session = mallory.connect();
  for (const statement of [
    'lock table rowmill.locks',
    'lock table rowmill.locks in access share mode',
    'select * from rowmill.locks for update',
    'lock table rowmill.pending_keys',
  ]) {
    const locked = session.begin((tx) => tx.unsafe(statement));
    await expect(locked, statement).rejects.toMatchObject({ code: '42501' });
  }
});

it('two ticks at once: the second returns at once, and the lock is gone with the transaction', async () => {
  await sql.begin(async (tx) => {
    await tick(tx);
    const [other] = await sql`select rowmill.tick() as counts`;
    expect(other!.counts).toEqual({ queued: 0, formed: 0, posted: 0, released: 0, more: false });
  });
  await insertFilms(sql, 1, 3, 'public.films');
  await sql`update rowmill.pipelines set flush_after = '0'`;
  expect(await tick(sql)).toMatchObject({ formed: 1 });
});

it('a session that says that answers are being written edits no row unseen', async () => {
  await insertFilms(sql, 1, 3, 'public.films');
  const batch = await endedBatch(sql, 'films');
  await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, 'an answer')) });
  const [mark] = await sql`select rowmill.applying_mark(${id}) as mark`;
  const session = mallory.connect();
  for (const said of [String(id), 'true', mark!.mark]) {
    await emptyQueue(sql, id);
    await session`select set_config('rowmill.applying', ${said}, false)`;
    await session`update public.films set title = title || '!' where id = 1`;
    expect(await queuedKeys(sql, id), said).toEqual([[1]]);
  }
});

it('what a BEFORE trigger changes while an answer is written still asks for nothing', async () => {
  await sql.unsafe(`create function public.touch() returns trigger language plpgsql
      as $$ begin new.title := new.title || '.'; return new; end $$;
    create trigger touch before update of summary on public.films for each row execute function public.touch()`);
  await tick(sql);
  await insertFilms(sql, 1, 3, 'public.films');
  const batch = await endedBatch(sql, 'films');
  expect(
    await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, 'an answer')) }),
  ).toMatchObject({ enriched: 3 });
  expect(await queuedKeys(sql, id)).toEqual([]);
  const [left] = await sql`select current_setting('rowmill.applying', true) as mark`;
  expect(left!.mark ?? '').toBe('');
});

it.each([
  ['is locked', 'lock table rowmill.pending_keys in access exclusive mode'],
  [
    'is rewritten',
    'lock table rowmill.pending_keys in access exclusive mode; alter table rowmill.pending_keys set (fillfactor = 90)',
  ],
])('an edit while the queue %s is asked for again, and no answer to the old text stays', async (_, lock) => {
  await insertFilms(sql, 1, 5, 'public.films');
  const batch = await endedBatch(sql, 'films');
  await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, 'an answer')) });
  await sql.begin(async (tx) => {
    await tx.unsafe(lock);
    await database.sql`update public.films set title = 'EDIT-A' where id = 5`;
    await database.sql`insert into public.films (id, title) values (6, 'new')`;
  });
  await tick(sql);
  expect((await queuedKeys(sql, id)).sort()).toEqual([[5], [6]]);
  expect(await problemOf(sql, 'films')).toBeNull();
  const again = await endedBatch(sql, 'films');
  expect(again.rows.map((row) => row.input.title).sort()).toEqual(['EDIT-A', 'new']);
});

it('an edit while nothing of it can be written is not forgotten: a backfill of all rows is asked for until one is through', async () => {
  await insertFilms(sql, 1, 5, 'public.films');
  const batch = await endedBatch(sql, 'films');
  await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, 'an answer')) });
  await sql.begin(async (tx) => {
    await tx`lock table rowmill.pending_keys, rowmill.trigger_errors in access exclusive mode`;
    await database.sql`update public.films set title = 'EDIT-A' where id = 5`;
  });
  const problem = await problemOf(sql, 'films');
  expect(problem).toContain('edited ones may have their old answers still');
  await sql`select rowmill.backfill('films', only_missing => true)`;
  await tick(sql);
  expect(await problemOf(sql, 'films')).toBe(problem);
  await sql`select rowmill.backfill('films')`;
  await tick(sql);
  expect(await problemOf(sql, 'films')).toBeNull();
  const again = await endedBatch(sql, 'films');
  expect(again.rows.map((row) => row.input.title)).toContain('EDIT-A');
});
