import type postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { migrate } from '../../src/store/migrate.ts';
import { readRooms, supabase } from '../../tools/sql/rooms.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { pgNetStub } from '../support/pg-net-stub.ts';
import { ingestSecret } from '../support/service.ts';
import {
  answer,
  type Counts,
  createFilms,
  createPipeline,
  type EndedBatch,
  endBatch,
  insertFilms,
  startBatch,
  takeChunks,
  tick,
} from '../support/sql-factories.ts';
import { createStranger, type Stranger } from './stranger.ts';

let database: TestDatabase;
let sql: TestDatabase['sql'];
let mallory: Stranger;
beforeEach(async () => {
  database = await createDatabase();
  sql = database.sql;
});
afterEach(async () => {
  await mallory?.leave();
  await database.drop();
});

/** Ends a running batch and writes its answers in a worker's session, which may call functions and read no table. */
async function harvestAs(session: postgres.Sql, batch: EndedBatch): Promise<Counts> {
  await endBatch(session, batch.batchId);
  const answers = batch.rows.map((row) => answer(row, 'an answer'));
  const [applied] = await session.unsafe(
    `select rowmill.apply_results(${batch.batchId}, 'w', 'output', 0, 10, $1::pg_catalog.text::pg_catalog.jsonb, '[]', 0, 0, 0, 0, 0, 0) as counts`,
    [JSON.stringify(answers)],
  );
  return applied!.counts;
}

/** Relations of pg_catalog that a room names without saying where they are, and types likewise. */
async function unqualifiedNames(): Promise<{ relations: string[]; types: string[] }> {
  const text = (await readRooms(supabase)).map((room) => room.text).join('\n');
  const named = new Set(text.match(/(?<![.\w])[a-z_]\w*/g));
  const relations = await sql`
    select c.relname as name from pg_class as c
    where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v') and c.relname like 'pg\\_%'`;
  const types = await sql`
    select t.typname as name from pg_type as t
    where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype = 'b' and t.typelem = 0`;
  const used = (rows: Iterable<{ name?: string }>) =>
    [...rows].flatMap((row) => (named.has(row.name!) ? [row.name!] : []));
  return { relations: used(relations as never), types: used(types as never) };
}

/** Shadows in pg_temp what bodies name without a schema: views that call ran(), domains that check with it. */
async function shadow(session: ReturnType<Stranger['connect']>, { schema }: Stranger): Promise<number> {
  const { relations, types } = await unqualifiedNames();
  let made = 0;
  for (const name of relations) {
    const statement = `create temp view ${name} as select * from pg_catalog.${name} where ${schema}.ran();
      grant select on pg_temp.${name} to public`;
    made += await session.unsafe(statement).then(
      () => 1,
      () => 0, // what nobody but a superuser reads
    );
  }
  for (const name of types) {
    const statement = `create domain pg_temp."${name}" as pg_catalog."${name}" check (${schema}.ran());
      grant usage on type pg_temp."${name}" to public`;
    made += await session.unsafe(statement).then(
      () => 1,
      () => 0,
    );
  }
  return made;
}

const hostile = (schema: string) => `
  create function ${schema}.eq(text, text) returns boolean language sql as 'select ${schema}.ran() and $1 operator(pg_catalog.=) $2';
  create function ${schema}.eq(bigint, bigint) returns boolean language sql as 'select ${schema}.ran() and $1 operator(pg_catalog.=) $2';
  create function ${schema}.eq(integer, integer) returns boolean language sql as 'select ${schema}.ran() and $1 operator(pg_catalog.=) $2';
  create function ${schema}.eq(jsonb, jsonb) returns boolean language sql as 'select ${schema}.ran() and $1 operator(pg_catalog.=) $2';
  create function ${schema}.eq(bigint, integer) returns boolean language sql as 'select ${schema}.ran() and $1 operator(pg_catalog.=) $2';
  create operator ${schema}.= (leftarg = text, rightarg = text, function = ${schema}.eq);
  create operator ${schema}.= (leftarg = bigint, rightarg = bigint, function = ${schema}.eq);
  create operator ${schema}.= (leftarg = integer, rightarg = integer, function = ${schema}.eq);
  create operator ${schema}.= (leftarg = jsonb, rightarg = jsonb, function = ${schema}.eq);
  create operator ${schema}.= (leftarg = bigint, rightarg = integer, function = ${schema}.eq);
  create function ${schema}.md5(text) returns text language sql as 'select pg_catalog.md5($1) where ${schema}.ran()';
  create function ${schema}.format(text, text) returns text language sql as 'select pg_catalog.format($1, $2) where ${schema}.ran()';
  create function ${schema}.jsonb_build_array(bigint) returns jsonb language sql
    as 'select pg_catalog.jsonb_build_array($1) where ${schema}.ran()';
  create function ${schema}.jsonb_array_length(jsonb) returns integer language sql
    as 'select pg_catalog.jsonb_array_length($1) where ${schema}.ran()';
  create domain ${schema}.jsonb as pg_catalog.jsonb check (${schema}.ran());
  create domain ${schema}.text as pg_catalog.text check (${schema}.ran());
  create view ${schema}.pg_class as select * from pg_catalog.pg_class where ${schema}.ran();
  create view ${schema}.chunks as select * from pg_catalog.pg_class where ${schema}.ran();
  grant select on all tables in schema ${schema} to public;`;

describe('names that a session puts before pg_catalog’s', () => {
  it('are not seen by a function that a worker calls: relations and types in pg_temp', async () => {
    await createFilms(sql);
    await createPipeline(sql, { chunk_size: 10 });
    await insertFilms(sql, 1, 20);
    await sql.unsafe(pgNetStub);
    await sql`select rowmill.set_endpoint('http://127.0.0.1:9', ${ingestSecret})`;
    mallory = await createStranger(database, 'grant rowmill_worker to $role');
    const session = mallory.connect();
    expect(await shadow(session, mallory)).toBeGreaterThan(30);
    for (const call of [
      `claim_work('w', 1)`,
      `claim_ended_batches('w', 1)`,
      'claim_due_polls(10, 10)',
      'tick()',
      'doctor()',
      'migration_versions()',
      `read_chunk(1, 0, 10)`,
      `get_pipeline(1)`,
      `renew_leases('w', '1', '{}')`,
    ]) {
      await session.unsafe(`select * from rowmill.${call}`);
    }
    expect(await mallory.ranAsOwner()).toBe(false);
  });

  it('are not seen by a trigger in the session of whoever inserts and edits', async () => {
    await createFilms(sql);
    await createPipeline(sql, { chunk_size: 100 });
    await sql.unsafe(pgNetStub);
    await sql`select rowmill.set_endpoint('http://127.0.0.1:9', ${ingestSecret})`;
    mallory = await createStranger(database, 'grant select, insert, update on public.films to $role');
    const session = mallory.connect();
    expect(await shadow(session, mallory)).toBeGreaterThan(30);
    await insertFilms(session, 1, 1000, 'public.films');
    await insertFilms(session, 2000, 2000, 'public.films');
    await session`update public.films set title = 'edited' where id < 5`;
    expect(await mallory.ranAsOwner()).toBe(false);
    expect(await sql`select from rowmill.chunks`).not.toHaveLength(0);
  });

  it.each(['connection', 'role'])(
    'are not seen while answers are written: a search_path of the %s',
    async (where) => {
      await createFilms(sql);
      await createPipeline(sql, { chunk_size: 10 });
      await insertFilms(sql, 1, 20);
      await sql`select rowmill.flush('films')`;
      mallory = await createStranger(database, 'grant rowmill_worker to $role');
      await mallory.connect().unsafe(hostile(mallory.schema));
      const path = `${mallory.schema}, pg_catalog`;
      if (where === 'role') await sql.unsafe(`alter role ${mallory.name} set search_path = ${path}`);
      const session = mallory.connect(where === 'role' ? {} : { search_path: path });
      const [shown] = await session`show search_path`;
      expect(shown!.search_path).toBe(path);

      const batch = await startBatch(sql, await takeChunks(sql, 'films'));
      expect(await harvestAs(session, batch)).toMatchObject({ enriched: 20 });
      expect(await mallory.ranAsOwner()).toBe(false);
    },
  );

  it('are not bound into a view or a check by the migration', async () => {
    const empty = await createDatabase({ migrated: false });
    try {
      await empty.sql.unsafe(`grant create on schema public to public`);
      mallory = await createStranger(empty);
      await mallory.connect().unsafe(
        `
        create function public.format(text, bigint, text) returns text language sql as 'select null where ${mallory.schema}.ran()';
        create function public.ge(numeric, integer) returns boolean language sql as 'select ${mallory.schema}.ran()';
        create operator public.>= (leftarg = numeric, rightarg = integer, function = public.ge);`,
      );
      await migrate({ url: empty.url });
      const bound = await empty.sql`
        select pg_describe_object(d.classid, d.objid, d.objsubid) as what, pg_describe_object(d.refclassid, d.refobjid, 0) as name
        from pg_depend as d
        where d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
        and d.refobjid in (
          select p.oid from pg_proc as p where p.proowner::regrole::text = ${mallory.name}
          union all select o.oid from pg_operator as o where o.oprowner::regrole::text = ${mallory.name}
        )
        and d.classid in ('pg_rewrite'::regclass, 'pg_constraint'::regclass, 'pg_class'::regclass)`;
      expect(bound).toEqual([]);
    } finally {
      await mallory.leave();
      mallory = undefined as never;
      await empty.drop();
    }
  });
});

describe('a trigger of the owner’s', () => {
  it('finds its tables by the owner’s own path while answers are written, whatever the worker’s is', async () => {
    await createFilms(sql);
    await sql.unsafe(`
      create table public.log (id bigint, said text);
      create function public.note() returns trigger language plpgsql as $$
      begin insert into log values (new.id, new.summary); return new; end $$;
      create trigger note after update of summary on public.films for each row execute function public.note()`);
    await createPipeline(sql);
    await insertFilms(sql, 1, 3);
    await tick(sql);
    await sql`select rowmill.flush('films')`;
    mallory = await createStranger(database, 'grant rowmill_worker to $role');
    const session = mallory.connect({ search_path: mallory.schema });
    const batch = await startBatch(sql, await takeChunks(sql, 'films'));
    await harvestAs(session, batch);
    expect(await sql`select said from public.log`).toHaveLength(3);
  });

  it('does not find what a stranger may have put there: such a schema is not on the path', async () => {
    const path = async () => (await sql`select rowmill.owner_path() as path`)[0]!.path;
    const before = await path();
    expect(before).toMatch(/^pg_catalog, (.*, )?public, (.*, )?pg_temp$/);
    mallory = await createStranger(
      database,
      inject('ownerUrl') === null ? 'grant create on schema public to $role' : '',
    );
    if (inject('ownerUrl') !== null) {
      await sql.unsafe(
        `alter schema public owner to current_user; grant create on schema public to ${mallory.name}`,
      );
    }
    expect(await path()).toBe(before.replace('public, ', ''));
  });
});
