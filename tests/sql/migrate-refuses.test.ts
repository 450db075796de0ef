import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { migrate, migrationsDirectory } from '../../src/store/migrate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const first = path.join(migrationsDirectory, '20261127000000_rowmill_0_1_0.sql');
const schemasOf = async (sql: postgres.Sql) =>
  (
    await sql`
      select n.nspname from pg_namespace as n where n.nspname in ('rowmill', 'supabase_migrations') order by 1`
  ).map((row) => row.nspname);
const listAs = (sql: postgres.Sql, rows: [string, string][]) =>
  sql.begin(async (tx) => {
    await tx`create schema if not exists supabase_migrations`;
    await tx`
      create table if not exists supabase_migrations.schema_migrations (
        version text not null primary key, statements text[], name text
      )`;
    for (const [version, name] of rows) {
      await tx`insert into supabase_migrations.schema_migrations (version, name) values (${version}, ${name})`;
    }
  });

describe.each(['LATIN1', 'SQL_ASCII'])('a database with encoding %s', (encoding) => {
  let database: TestDatabase;
  beforeEach(async () => {
    database = await createDatabase({ encoding });
  });
  afterEach(() => database.drop());

  it('is refused by migrate, which changes nothing', async () => {
    const refused = await migrate({ url: database.url }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'database_encoding', fields: { encoding } });
    expect((refused as Error).message).toContain(`came ${encoding}`);
    expect((refused as Error).message).toContain("encoding 'UTF8' template template0");
    expect(await schemasOf(database.sql)).toEqual([]);
  });

  it('is refused by the first statement of the migration', async () => {
    const text = await readFile(first, 'utf8');
    const start = text.slice(0, text.indexOf('comment on schema'));
    // What stands before the refusal must reach the server whatever it converts to.
    expect(start).toMatch(/^\p{ASCII}+$/u);
    await expect(database.sql.unsafe(start)).rejects.toMatchObject({
      code: '0A000',
      message: expect.stringContaining(`has ${encoding}`),
      detail: expect.any(String),
      hint: expect.stringContaining("encoding 'UTF8' template template0"),
    });
    expect(await schemasOf(database.sql)).toEqual([]);
  });
});

describe('a database that this program cannot bring up to date', () => {
  let database: TestDatabase;
  beforeEach(async () => {
    database = await createDatabase({ migrated: false });
  });
  afterEach(() => database.drop());
  const refusalOf = async () =>
    (await migrate({ url: database.url }).catch((error: unknown) => error)) as Error;
  const makeUnreleased = async () => {
    await database.sql.unsafe(
      'create schema rowmill; create table rowmill.pipelines (id bigint primary key)',
    );
    await listAs(database.sql, [
      ['20250101000000', 'films'],
      ['20261121000100', 'schema'],
      ['20261121001690', 'worker_role'],
    ]);
  };

  it('is refused where an unreleased version made it, and migrates after what the refusal says', async () => {
    const { sql } = database;
    await makeUnreleased();
    const refused = await refusalOf();
    expect(refused).toMatchObject({
      code: 'migration_unknown',
      fields: { tables: 1, unreleased: ['20261121000100', '20261121001690'] },
    });
    expect(refused.message).toContain(
      '2 unreleased migrations, 20261121000100_schema to 20261121001690_worker_role',
    );
    expect(refused.message).toContain('Rows of your tables stay');
    expect(await sql`select from rowmill.pipelines`).toEqual([]);
    const advised = /(drop schema [^;]+;) (delete from [^;]+;)/.exec(refused.message)!;
    await sql.unsafe(`${advised[1]} ${advised[2]}`);
    expect((await migrate({ url: database.url })).applied).toHaveLength(1);
    const [row] = await sql`
      select array_agg(m.name order by m.version) as names from supabase_migrations.schema_migrations as m`;
    expect(row!.names).toEqual(['films', 'rowmill_0_1_0']);
  });

  it('is refused where nothing records what made it, and current once that is recorded', async () => {
    await database.sql.unsafe(await readFile(first, 'utf8'));
    const refused = await refusalOf();
    expect(refused).toMatchObject({ code: 'migration_unknown', fields: { unreleased: [] } });
    expect(await schemasOf(database.sql)).toEqual(['rowmill']);
    const [record] = /insert into [^;]+;/.exec(refused.message)!;
    await listAs(database.sql, []);
    await database.sql.unsafe(record);
    expect(await migrate({ url: database.url })).toEqual({ applied: [] });
  });

  it('is refused where a newer program migrated it; migrations of others in the list are no matter', async () => {
    await migrate({ url: database.url });
    await listAs(database.sql, [
      ['20300101000000', 'rowmill_pipelines_of_ours'],
      ['20300102000000', 'rowmill_1_0'],
    ]);
    expect(await migrate({ url: database.url })).toEqual({ applied: [] });
    await listAs(database.sql, [['20300103000000', 'rowmill_0_10_2']]);
    const refused = await refusalOf();
    expect(refused).toMatchObject({ code: 'migration_unknown', fields: { versions: ['0.10.2'] } });
    expect(refused.message).toContain('came 20300103000000_rowmill_0_10_2');
    expect(refused.message).toContain('Run a program of version 0.10.2 or newer');
  });

  it.each([
    ['a table', 'create table rowmill.pipelines (id bigint)', /table rowmill\.pipelines/],
    [
      'a function',
      'create function rowmill.why() returns text language sql return null',
      /function rowmill\.why/,
    ],
    [
      'default privileges',
      'alter default privileges in schema rowmill grant all on tables to public',
      /default privileges/,
    ],
  ])('is refused by the migration itself where schema rowmill holds %s', async (_what, statement, holds) => {
    await database.sql.unsafe(`create schema rowmill; ${statement}`);
    await expect(database.sql.unsafe(await readFile(first, 'utf8'))).rejects.toMatchObject({
      code: '55000',
      message: expect.stringMatching(holds),
      detail: expect.stringContaining('Nothing was changed'),
      hint: expect.stringContaining('drop schema rowmill cascade'),
    });
    expect(
      await database.sql`select from pg_class where relnamespace = 'rowmill'::regnamespace and relname = 'chunks'`,
    ).toEqual([]);
  });

  it('is served where its owner made an empty schema rowmill before', async () => {
    await database.sql`create schema rowmill`;
    expect((await migrate({ url: database.url })).applied).toHaveLength(1);
  });
});

describe('where mallory may create schemas', () => {
  let database: TestDatabase;
  let admin: postgres.Sql;
  let mallory: postgres.Sql;
  let name: string;
  beforeEach(async () => {
    database = await createDatabase({ migrated: false });
    name = `mallory_${randomBytes(6).toString('hex')}`;
    const at = (url: string) => Object.assign(new URL(url), { pathname: new URL(database.url).pathname });
    admin = postgres(at(inject('databaseUrl')).href, {
      max: 1,
      onnotice: () => {},
    }) as unknown as postgres.Sql;
    await admin.unsafe(`
      create role ${name} login password '${name}';
      do $$ begin execute format('grant create on database %I to ${name}', current_database()); end; $$`);
    const url = Object.assign(at(database.url), { username: name, password: name });
    mallory = postgres(url.href, { max: 1, onnotice: () => {} }) as unknown as postgres.Sql;
    // A sequence stays where it is when a transaction is undone.
    await mallory.unsafe(`
      create schema mallory; create sequence mallory.ran; grant usage on schema mallory to public; grant all on mallory.ran to public;
      create function mallory.run() returns trigger language plpgsql as $$ begin perform nextval('mallory.ran'); return new; end; $$`);
  });
  afterEach(async () => {
    await mallory.end();
    await admin.unsafe(`drop owned by ${name} cascade; drop role ${name}`);
    await admin.end();
    await database.drop();
  });
  const hasRun = async () => (await mallory`select s.is_called from mallory.ran as s`)[0]!.is_called;

  it.each([
    [
      'schema rowmill',
      `create schema rowmill; grant usage on schema rowmill to public;
       create function rowmill.migration_versions() returns setof text language sql as $$ select nextval('mallory.ran')::text $$`,
      'schema rowmill',
    ],
    ['an empty schema rowmill', 'create schema rowmill', 'schema rowmill'],
    [
      'a list with a trigger',
      `create schema supabase_migrations; grant all on schema supabase_migrations to public;
       create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
       grant all on supabase_migrations.schema_migrations to public;
       create trigger ran before insert on supabase_migrations.schema_migrations for each row execute function mallory.run()`,
      'schema supabase_migrations',
    ],
    [
      'a list that is a view',
      `create schema supabase_migrations; grant all on schema supabase_migrations to public;
       create view supabase_migrations.schema_migrations as
         select nextval('mallory.ran')::text as version, null::text[] as statements, null::text as name;
       grant all on supabase_migrations.schema_migrations to public`,
      'schema supabase_migrations',
    ],
  ])('migrate refuses %s of hers, and runs nothing of it', async (_what, statements, what) => {
    await mallory.unsafe(statements);
    const before = await schemasOf(database.sql);
    const refused = (await migrate({ url: database.url }).catch((error: unknown) => error)) as Error;
    expect(refused).toMatchObject({ code: 'schema_foreign', fields: { what, owner: name } });
    expect(refused.message.split('\n')).toHaveLength(3);
    expect(await hasRun()).toBe(false);
    expect(await schemasOf(database.sql)).toEqual(before);
  });

  it('migrate refuses her list in a schema that is not hers', async () => {
    await database.sql.unsafe(
      `create schema supabase_migrations; grant all on schema supabase_migrations to public`,
    );
    await mallory.unsafe(`
      create view supabase_migrations.schema_migrations as
        select nextval('mallory.ran')::text as version, null::text[] as statements, null::text as name;
      grant all on supabase_migrations.schema_migrations to public`);
    await expect(migrate({ url: database.url })).rejects.toMatchObject({
      code: 'schema_foreign',
      fields: { what: 'table supabase_migrations.schema_migrations', owner: name },
    });
    expect(await hasRun()).toBe(false);
  });

  it('the migration itself refuses her schema rowmill, and one in which she may create', async () => {
    const text = await readFile(first, 'utf8');
    const refusal = (message: string, hint: string) => ({
      ...{ code: '55000', message: expect.stringContaining(message) },
      ...{ detail: expect.stringContaining('Nothing was changed'), hint: expect.stringContaining(hint) },
    });
    await mallory`create schema rowmill`;
    await expect(database.sql.unsafe(text)).rejects.toMatchObject(
      refusal(`belongs to ${name}`, 'drop schema rowmill cascade'),
    );
    await mallory`drop schema rowmill`;

    await database.sql.unsafe(`create schema rowmill; grant create on schema rowmill to ${name}`);
    const open = refusal(`${name} may create in it`, `revoke create on schema rowmill from ${name}`);
    await expect(database.sql.unsafe(text)).rejects.toMatchObject(open);
    await expect(migrate({ url: database.url })).rejects.toMatchObject({
      code: 'migration_failed',
      message: expect.stringMatching(/may create in it\n.*Nothing was changed\.\nrevoke create/),
    });
    await database.sql.unsafe(`revoke create on schema rowmill from ${name}`);
    expect((await migrate({ url: database.url })).applied).toHaveLength(1);
  });

  it('her overloads on the search_path are not chosen for a refusal', async () => {
    await mallory.unsafe(`
      create schema rowmill; create schema traps; grant usage on schema traps to public;
      create function traps.format(text, text) returns text language sql as $$ select nextval('mallory.ran')::text $$;
      create function traps.concat(text, name) returns text language sql as $$ select nextval('mallory.ran')::text $$`);
    const url = new URL(database.url);
    await admin.unsafe(
      `do $$ begin execute format('alter role ${url.username} in database %I set search_path = traps, public', current_database()); end; $$`,
    );
    await expect(migrate({ url: url.href })).rejects.toMatchObject({ code: 'schema_foreign' });
    const owner = postgres(url.href, { max: 1, onnotice: () => {} });
    const text = await readFile(first, 'utf8');
    await expect(owner.unsafe(text).finally(() => owner.end())).rejects.toMatchObject({ code: '55000' });
    expect(await hasRun()).toBe(false);
  });

  it('a role that is a member of the owner’s role shares its list with it', async () => {
    await admin.unsafe(`grant ${new URL(database.url).username} to ${name}`);
    await mallory.unsafe(`
      create schema supabase_migrations;
      create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
      grant all on schema supabase_migrations to public; grant all on supabase_migrations.schema_migrations to public`);
    expect((await migrate({ url: database.url })).applied).toHaveLength(1);
  });

  it('a worker that she starts without rights hears what it lacks', async () => {
    await admin.unsafe(
      `do $$ begin execute format('revoke create on database %I from ${name}', current_database()); end; $$`,
    );
    const url = Object.assign(new URL(database.url), { username: name, password: name });
    await expect(migrate({ url: url.href })).rejects.toMatchObject({
      code: 'rights_missing',
      message: expect.stringMatching(/are missing.*create on database/),
    });
  });
});
