import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  createFilms,
  createPipeline,
  emptyQueue,
  insertFilms,
  problemOf,
  queuedKeys,
  tick,
} from '../support/sql-factories.ts';

describe('a fault in the triggers', () => {
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
    id = await createPipeline(sql, { name, source: table, chunk_size: 10 });
  });

  const ids = async () => (await sql.unsafe(`select id from ${table} order by id`)).map((row) => row.id);
  const hide = () => sql.unsafe('alter table rowmill.pending_keys rename to hidden_keys');
  const show = () => sql.unsafe('alter table rowmill.hidden_keys rename to pending_keys');

  const lose = async (work: () => Promise<unknown>) => {
    await sql.unsafe('alter function rowmill.all_keys_sql rename to gone_for_a_while');
    await hide();
    await work();
    await show();
    await sql.unsafe('alter function rowmill.gone_for_a_while rename to all_keys_sql');
  };
  const edit = (key: number) => sql.unsafe(`update ${table} set title = title || '!' where id = ${key}`);

  it('leaves inserts and updates alone, and keeps their keys, which the tick queues', async () => {
    await insertFilms(sql, 1, 3, table);
    await tick(sql);
    await emptyQueue(sql, id);
    await hide();
    await insertFilms(sql, 4, 5, table);
    await insertFilms(sql, 6, 2505, table);
    await edit(1);
    await show();
    expect(await ids()).toHaveLength(2505);
    const problem = await problemOf(sql, name);
    expect(problem).toContain('keys that could not be queued wait for the tick');
    expect(problem).toContain('rowmill.pending_keys');
    await tick(sql);
    const queued = (await queuedKeys(sql, id)).map(([key]) => Number(key));
    expect(queued.sort((a, b) => a - b)).toEqual([1, ...Array.from({ length: 2502 }, (_, at) => at + 4)]);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it('that loses an insert stands in pipeline_status until a backfill of missing rows is through', async () => {
    await insertFilms(sql, 1, 3, table);
    await tick(sql);
    await lose(() => insertFilms(sql, 4, 6, table));
    const problem = await problemOf(sql, name);
    expect(problem).toContain('could not be queued');
    expect(problem).toContain('rowmill.pending_keys');
    expect(problem).toContain(`select rowmill.backfill('${name}', only_missing => true)`);
    await sql.unsafe(`update ${table} set summary = 'done' where id in (1, 2, 3)`);
    await emptyQueue(sql, id);
    await tick(sql);
    expect(await problemOf(sql, name)).toBe(problem);
    await sql`select rowmill.backfill(${name}, only_missing => true)`;
    await tick(sql);
    expect(await queuedKeys(sql, id)).toEqual([[4], [5], [6]]);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it('that loses an edit stands there until a backfill of all rows is through: the old answer looks like any other', async () => {
    await insertFilms(sql, 1, 3, table);
    await tick(sql);
    await sql.unsafe(`update ${table} set summary = 'done'`);
    await emptyQueue(sql, id);
    await lose(() => edit(2));
    const problem = await problemOf(sql, name);
    expect(problem).toContain(`select rowmill.backfill('${name}'); -- sends all rows`);
    await sql`select rowmill.backfill(${name}, only_missing => true)`;
    await tick(sql);
    expect(await problemOf(sql, name)).toBe(problem);
    await sql`select rowmill.backfill(${name})`;
    await tick(sql);
    expect(await queuedKeys(sql, id)).toHaveLength(3);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it('that comes after the backfill began stands on when the backfill is through', async () => {
    await lose(() => insertFilms(sql, 1, 1, table));
    await sql`select rowmill.backfill(${name}, only_missing => true)`;
    await lose(() => insertFilms(sql, 2, 2, table));
    await tick(sql);
    expect(await problemOf(sql, name)).toContain('could not be queued');
    await sql`select rowmill.backfill(${name}, only_missing => true)`;
    await tick(sql);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it('in forming loses no key: the tick forms the chunk and the problem goes', async () => {
    await sql.unsafe('alter table rowmill.chunks rename to hidden_chunks');
    await insertFilms(sql, 1, 25, table);
    await sql.unsafe('alter table rowmill.hidden_chunks rename to chunks');
    expect(await ids()).toHaveLength(25);
    expect(await problemOf(sql, name)).toContain('a chunk waits for the tick');
    await tick(sql);
    expect(await queuedKeys(sql, id)).toHaveLength(25);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it.each([
    ['form_chunk_on_insert(bigint)', 25],
    ['note_trigger_error(bigint, text, text, text, jsonb)', 0],
  ])('that takes %s away leaves inserts and updates alone', async (signature, queued) => {
    const parameters = signature.slice(signature.indexOf('('));
    await sql.unsafe(`alter function rowmill.${signature} rename to gone_for_a_while`);
    if (queued === 0) await hide();
    try {
      await insertFilms(sql, 1, 25, table);
      await sql.unsafe(`update ${table} set title = title || '!'`);
    } finally {
      if (queued === 0) await show();
      const name = signature.slice(0, signature.indexOf('('));
      await sql.unsafe(`alter function rowmill.gone_for_a_while${parameters} rename to ${name}`);
    }
    expect(await ids()).toHaveLength(25);
    expect(new Set((await queuedKeys(sql, id)).map(([key]) => key)).size).toBe(queued);
  });

  it('with nowhere to note it still leaves the insert alone', async () => {
    await sql.unsafe('alter table rowmill.trigger_errors rename to hidden_errors');
    await hide();
    await insertFilms(sql, 1, 3, table);
    await sql.unsafe(`update ${table} set title = 'edited'`);
    await show();
    await sql.unsafe('alter table rowmill.hidden_errors rename to trigger_errors');
    expect(await ids()).toHaveLength(3);
    // What is left is a number, which no rollback and no lock takes away.
    const problem = await problemOf(sql, name);
    expect(problem).toContain('nothing says which');
    await sql`select rowmill.backfill(${name}, only_missing => true)`;
    await tick(sql);
    expect(await problemOf(sql, name)).toBe(problem);
    await sql`select rowmill.backfill(${name})`;
    await tick(sql);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it('takes back with the transaction what it noted of it', async () => {
    await hide();
    await sql
      .begin(async (tx) => {
        await insertFilms(tx, 1, 3, table);
        throw new Error('undo');
      })
      .catch(() => {});
    await show();
    expect(await problemOf(sql, name)).toBeNull();
  });

  it('that is a lock held for long delays an insert by less than a second', async () => {
    await sql.begin(async (tx) => {
      await tx`lock table rowmill.pending_keys in access exclusive mode`;
      const began = performance.now();
      await insertFilms(sql, 1, 3, table);
      expect(performance.now() - began).toBeLessThan(1000);
    });
    expect(await ids()).toHaveLength(3);
    expect(await problemOf(sql, name)).toContain('lock timeout');
    await tick(sql);
    expect(await queuedKeys(sql, id)).toHaveLength(3);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it.each(['insert', 'update'])('that is a disabled %s trigger stands in pipeline_status', async (event) => {
    await sql.unsafe(`alter table ${table} disable trigger rowmill_${id}_${event}`);
    expect(await problemOf(sql, name)).toContain(
      `trigger rowmill_${id}_${event} on ${table} is missing or disabled`,
    );
    await sql.unsafe(`alter table ${table} enable trigger rowmill_${id}_${event}`);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it('that is a dropped trigger stands in pipeline_status', async () => {
    await sql.unsafe(`drop trigger rowmill_${id}_insert on ${table}`);
    expect(await problemOf(sql, name)).toContain('is missing or disabled');
  });

  it('goes unnoticed by whoever inserts: no function of the triggers can be called, and none is in the way', async () => {
    const role = `clerk_${database.url.slice(-12)}_${tables}`;
    await sql.unsafe(`create role ${role}; grant insert on ${table} to ${role}`);
    try {
      await hide();
      await sql.begin(async (tx) => {
        await tx.unsafe(`set local role ${role}`);
        await insertFilms(tx, 1, 3, table);
      });
      await show();
      expect(await ids()).toEqual([1, 2, 3]);
      expect(await problemOf(sql, name)).toContain('keys that could not be queued wait for the tick');
      await tick(sql);
      expect(await queuedKeys(sql, id)).toHaveLength(3);
    } finally {
      await sql.unsafe(`drop owned by ${role}; drop role ${role}`);
    }
  });
});
