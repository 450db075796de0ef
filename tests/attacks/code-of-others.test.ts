import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitFor } from '../support/service.ts';
import {
  alterPipeline,
  answer,
  apply,
  createFilms,
  createPipeline,
  endedBatch,
  insertFilms,
  type PipelineOptions,
  problemOf,
  refusal,
  tick,
} from '../support/sql-factories.ts';
import { createStranger, type Stranger } from './stranger.ts';

let database: TestDatabase;
let sql: TestDatabase['sql'];
let mallory: Stranger;
/** What the owner has made of Mallory's functions, and a table whose rows go through them. */
beforeEach(async () => {
  database = await createDatabase();
  sql = database.sql;
  mallory = await createStranger(database);
  await createFilms(sql);
  await sql.unsafe(`create type public.mood as enum ('calm', 'tense');
    create domain public.line as text;
    alter table public.films add column mood public.mood default 'calm', add column line public.line`);
  await mallory.connect().unsafe(`
    create function ${mallory.schema}.f(text) returns text language plpgsql immutable
      as $$ begin perform ${mallory.schema}.ran(); return $1; end $$;
    create function ${mallory.schema}.say(public.mood) returns text language plpgsql immutable
      as $$ begin perform ${mallory.schema}.ran(); return 'calm'; end $$;
    create operator ${mallory.schema}.@@@ (rightarg = text, function = ${mallory.schema}.f);
    create type ${mallory.schema}.kind as enum ('a')`);
  await sql.unsafe(`grant usage on schema public to ${mallory.name}`);
});
afterEach(async () => {
  await mallory.leave();
  await database.drop();
});

/** Postgres asks for CREATE where somebody else than a superuser gives a thing away. */
const given = (thing: string) =>
  `grant create on schema public to $m; alter ${thing} owner to $m; revoke create on schema public from $m`;

/** Each way, as statements with $m for Mallory's schema and name; `before` is the owner's. */
const ways: Record<string, { before: string; after?: string; pipeline?: PipelineOptions }> = {
  'a table of hers': { before: given('table public.films') },
  'a trigger function of hers': {
    before: 'create trigger t before update on public.films for each row execute function $m.touch()',
    after: 'drop trigger t on public.films',
  },
  'a cast of an input': {
    before: 'create cast (public.mood as text) with function $m.say(public.mood)',
    after: 'drop cast (public.mood as text)',
  },
  'a type of hers': { before: given('type public.mood') },
  'a domain check': {
    before: `alter domain public.line add constraint c check ($m.f(value) is not null or value is null)`,
    after: 'alter domain public.line drop constraint c',
  },
  'an index expression': {
    before: 'create index i on public.films (($m.f(note)))',
    after: 'drop index i',
  },
  'an index condition': {
    before: `create index i on public.films (id) where $m.f(note) = 'x'`,
    after: 'drop index i',
  },
  'a generated column': {
    before: 'alter table public.films add column g text generated always as ($m.f(note)) stored',
    after: 'alter table public.films drop column g',
  },
  'a default': {
    before: `alter table public.films alter column note set default $m.f('x')`,
    after: 'alter table public.films alter column note drop default',
  },
  'a check constraint': {
    before: `alter table public.films add constraint c check ($m.f(note) is not null or note is null)`,
    after: 'alter table public.films drop constraint c',
  },
  'an operator in a check': {
    before: `alter table public.films add constraint c check ((operator($m.@@@) note) is not null or note is null)`,
    after: 'alter table public.films drop constraint c',
  },
  'a rule': {
    before: `create table public.log (said text);
      create rule r as on update to public.films do also insert into public.log values ($m.f(new.note))`,
    after: 'drop rule r on public.films',
  },
  'a condition of a trigger': {
    before: `create function public.fine() returns trigger language plpgsql as 'begin return new; end';
      create trigger t before update on public.films for each row when ($m.f(new.note) is not null) execute function public.fine()`,
    after: 'drop trigger t on public.films',
  },
};

const named = (text: string) => text.replaceAll('$m', mallory.schema);
const pipeline = (more: PipelineOptions = {}) =>
  createPipeline(sql, { prompt: '{{title}} {{mood}}', outputs: ['summary', 'line'], ...more });

describe('code of a role that is not trusted', () => {
  it.each(Object.entries(ways))('makes create_pipeline refuse: %s', async (_, way) => {
    await sql.unsafe(named(way.before));
    const refused = await refusal(pipeline());
    expect(refused).toMatchObject({ code: 'RM117' });
    expect(refused.message).toContain(mallory.name);
    expect(refused.detail).toContain('Rows are read and answers are written as');
    expect(refused.hint).toContain('trusted_roles');
    expect(await mallory.ranAsOwner()).toBe(false);
    expect(await sql`select from rowmill.pipelines`).toHaveLength(0);
  });

  it.each(Object.entries(ways))(
    'that comes later stops every read and write of that pipeline, and nobody else’s: %s',
    async (_, way) => {
      await pipeline();
      await createFilms(sql, 'public.others');
      await createPipeline(sql, { name: 'others', source: 'public.others' });
      await insertFilms(sql, 1, 3, 'public.films');
      await insertFilms(sql, 1, 3, 'public.others');
      const batch = await endedBatch(sql, 'films');
      await insertFilms(sql, 4, 6, 'public.films');
      await sql`select rowmill.flush('films')`;
      const [owner] =
        await sql`select relowner::regrole::text as name from pg_class where oid = 'public.films'::regclass`;
      await sql.unsafe(named(way.before));
      // What the owner's own statement ran is the owner's affair.
      const answers = batch.rows.map((row) => answer(row, 'an answer', 'a line'));
      const [{ proofs }] = (await sql.unsafe(
        `select last_value as proofs from ${mallory.schema}.proofs`,
      )) as never as [{ proofs: number }];

      await expect(apply(sql, batch.batchId, { answers })).rejects.toMatchObject({ code: 'RM201' });
      await expect(sql`select * from rowmill.read_chunk(2, 0, 10)`).rejects.toMatchObject({ code: 'RM201' });
      expect(await sql`select * from rowmill.claim_work('w', 10) where pipeline_id = 1`).toEqual([]);
      await expect(sql`select * from rowmill.preview_rows('films')`).rejects.toMatchObject({ code: 'RM201' });
      await tick(sql);
      expect(await problemOf(sql, 'films')).toContain(mallory.name);
      await expect(alterPipeline(sql, 'films', { model: 'gpt-4o' })).rejects.toMatchObject({ code: 'RM117' });
      await expect(alterPipeline(sql, 'films', { budget_usd: 5 })).rejects.toMatchObject({ code: 'RM117' });

      const others = await endedBatch(sql, 'others');
      expect(
        await apply(sql, others.batchId, { answers: others.rows.map((row) => answer(row, 'an answer')) }),
      ).toMatchObject({ enriched: 3 });
      expect(await sql.unsafe(`select last_value as proofs from ${mallory.schema}.proofs`)).toEqual([
        { proofs },
      ]);

      await sql.unsafe(
        way.after ??
          `alter table public.films owner to ${owner!.name}; alter type public.mood owner to ${owner!.name}`,
      );
      expect(await apply(sql, batch.batchId, { answers })).toMatchObject({ enriched: 3 });
      await tick(sql);
      expect(await problemOf(sql, 'films')).toBeNull();
    },
  );

  it('is a trigger of whoever has TRIGGER on the table, or on a partition of it', async () => {
    await sql.unsafe(`
      create table public.parts (id bigint primary key, title text, summary text) partition by range (id);
      create table public.parts_1 partition of public.parts for values from (1) to (100);
      grant trigger on public.parts_1 to ${mallory.name}`);
    await createPipeline(sql, { name: 'parts', source: 'public.parts' });
    await sql`insert into public.parts (id, title) select n, 'part ' || n from generate_series(1, 3) as n`;
    const batch = await endedBatch(sql, 'parts');
    await mallory.connect().unsafe(`
      create trigger t before update on public.parts_1 for each row execute function ${mallory.schema}.touch()`);
    const answers = batch.rows.map((row) => answer(row, 'an answer'));
    await expect(apply(sql, batch.batchId, { answers })).rejects.toMatchObject({ code: 'RM201' });
    expect(await mallory.ranAsOwner()).toBe(false);
  });

  it('cannot come between the look and the write', async () => {
    await pipeline();
    await sql.unsafe(`grant trigger on public.films to ${mallory.name}`);
    await insertFilms(sql, 1, 3, 'public.films');
    const batch = await endedBatch(sql, 'films');
    const answers = batch.rows.map((row) => answer(row, 'x', 'y'));
    let applied: Promise<unknown> = Promise.resolve();
    await mallory.connect().begin(async (tx) => {
      await tx.unsafe(
        `create trigger t before update on public.films for each row execute function ${mallory.schema}.touch()`,
      );
      applied = apply(sql, batch.batchId, { answers }).then(
        () => 'applied',
        (error) => error.code,
      );
      await waitFor('the slice waits', async () => {
        const rows =
          await sql`select from pg_stat_activity where query like '%apply_results%' and wait_event_type = 'Lock'`;
        return rows.length > 0;
      });
    });
    expect(await applied).toBe('RM201');
    expect(await mallory.ranAsOwner()).toBe(false);
  });

  it('is no policy that does not hold for the owner, and one that does', async () => {
    await sql.unsafe(`create policy p on public.films using (${mallory.schema}.f(note) is not null or note is null);
      alter table public.films enable row level security`);
    await pipeline();
    await sql`select rowmill.drop_pipeline('films')`;
    const [role] =
      await sql`select rolsuper or rolbypassrls as sees_all from pg_roles where rolname = current_user`;
    await sql.unsafe('alter table public.films force row level security');
    if (role!.sees_all) await pipeline();
    else await expect(pipeline()).rejects.toMatchObject({ code: 'RM117' });
  });

  it('is what a filter names: a function, an operator, a type, a table', async () => {
    await sql.unsafe(`grant usage on schema ${mallory.schema} to public`);
    for (const filter of [
      `${mallory.schema}.f(title) is not null`,
      `(operator(${mallory.schema}.@@@) title) is not null`,
      `title::text <> 'a'::${mallory.schema}.kind::text`,
    ]) {
      expect(await refusal(pipeline({ filter })), filter).toMatchObject({ code: 'RM117' });
    }
  });

  it('is an overload that comes later of a function that a filter names', async () => {
    await sql.unsafe(`create schema shared; grant create, usage on schema shared to ${mallory.name};
      create function shared.fits(anyelement) returns boolean language sql immutable as 'select true'`);
    await pipeline({ filter: 'shared.fits(title)' });
    await insertFilms(sql, 1, 3, 'public.films');
    await sql`select rowmill.flush('films')`;
    expect(await sql`select * from rowmill.read_chunk(1, 0, 10)`).toHaveLength(3);
    await mallory
      .connect()
      .unsafe(`create function shared.fits(text) returns boolean language plpgsql immutable
      as $$ begin perform ${mallory.schema}.ran(); return true; end $$`);
    await expect(sql`select * from rowmill.read_chunk(1, 0, 10)`).rejects.toMatchObject({ code: 'RM201' });
    expect(await mallory.ranAsOwner()).toBe(false);
  });

  it('cannot stop a pipeline by what she makes of her own: a cast from its type to one of hers', async () => {
    await pipeline();
    await mallory.connect().unsafe(`
      create function ${mallory.schema}.turn(public.mood) returns ${mallory.schema}.kind language sql immutable as $$ select 'a'::${mallory.schema}.kind $$;
      create cast (public.mood as ${mallory.schema}.kind) with function ${mallory.schema}.turn(public.mood)`);
    expect(await problemOf(sql, 'films')).toBeNull();
  });

  it('is trusted where the operator says so, or where its role may become the owner', async () => {
    await sql.unsafe(named(ways['a trigger function of hers']!.before));
    await sql.unsafe(
      `update rowmill.settings set trusted_roles = trusted_roles || '${mallory.name}'::name where only_row`,
    );
    await pipeline();
    expect(await problemOf(sql, 'films')).toBeNull();
    await sql`update rowmill.settings set trusted_roles = '{}' where only_row`;
    expect(await problemOf(sql, 'films')).toContain(mallory.name);
  });

  it('does not run in the trigger of everybody who inserts: a cast of the key’s type to json', async () => {
    await sql.unsafe(`create table public.moods (id public.mood primary key, title text, summary text)`);
    await createPipeline(sql, { name: 'moods', source: 'public.moods' });
    await mallory.connect().unsafe(`
      create function ${mallory.schema}.to_json(public.mood) returns json language plpgsql
        as $$ begin perform ${mallory.schema}.ran(); return '"x"'; end $$`);
    await sql.unsafe(`create cast (public.mood as json) with function ${mallory.schema}.to_json(public.mood);
      grant insert on public.moods to ${mallory.name}`);
    await mallory.connect().unsafe(`insert into public.moods (id, title) values ('calm', 'x')`);
    expect(await mallory.ranAsOwner()).toBe(false);
  });
});

it('trigger functions and their sequence belong to Rowmill’s owner, whoever declares the pipeline', async () => {
  await pipeline();
  const owners = await sql`
    select distinct p.proowner::regrole::text as name from pg_proc as p
    where p.pronamespace = 'rowmill'::regnamespace
    union select c.relowner::regrole::text from pg_class as c where c.relnamespace = 'rowmill'::regnamespace`;
  expect(owners).toHaveLength(1);
});
