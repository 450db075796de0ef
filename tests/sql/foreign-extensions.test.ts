import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import type { Diagnosis } from '../../src/doctor/diagnosis.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { pgNetStub } from '../support/pg-net-stub.ts';
import { ingestSecret } from '../support/service.ts';
import { createFilms, createPipeline, refusal, tick } from '../support/sql-factories.ts';
import { vaultStub } from '../support/vault-stub.ts';

const endpoint = 'http://127.0.0.1:8787';

let database: TestDatabase;
let sql: TestDatabase['sql'];
/** May make schemas in this database and insert films. */
let role: string;
let mallory: postgres.Sql;
/** A superuser, who the owner need not be. */
let admin: postgres.Sql;
beforeEach(async () => {
  database = await createDatabase();
  sql = database.sql;
  role = `mallory_${randomBytes(6).toString('hex')}`;
  const [{ name }] = (await sql`select current_database() as name`) as unknown as [{ name: string }];
  await sql.unsafe(
    `create role ${role} login password '${role}'; grant create on database ${name} to ${role}`,
  );
  const server = databaseUrl(inject('databaseUrl'), name);
  admin = postgres(server, { max: 1, onnotice: () => {} });
  const url = new URL(server);
  url.username = role;
  url.password = role;
  mallory = postgres(url.href, { max: 1, onnotice: () => {} });
  await createFilms(sql);
  await createPipeline(sql, { chunk_size: 10 });
  await sql.unsafe(`grant insert on films to ${role}`);
  // What every function of hers does: it notes what it was told and with whose rights it runs, and uses them.
  await mallory.unsafe(`
    create schema trap;
    grant usage on schema trap to public;
    create table trap.seen (thing text, ran_as text, told text);
    grant insert on trap.seen to public;
    create function trap.run(thing text, told text) returns boolean language plpgsql as $$
    begin
      insert into trap.seen values (thing, current_user, told);
      begin
        execute format('grant %I to ${role}', current_user);
      exception when others then
        null;
      end;
      return true;
    end;
    $$`);
});
afterEach(async () => {
  await mallory.end();
  await admin.unsafe(`drop owned by ${role} cascade; drop role ${role}`);
  await admin.end();
  await database.drop();
});

const net = `
  create schema net;
  grant usage on schema net to public;
  create function net.http_post(
    url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000
  ) returns bigint language sql as $$
    select 1::bigint where trap.run('net.http_post', body::text)
  $$;
  create function net.check_worker_is_up() returns void language sql as $$
    select null::void where trap.run('net.check_worker_is_up', '')
  $$;
  create view net._http_response as
  select n::bigint as id, 200 as status_code, 'text' as content_type, '{}'::jsonb as headers, '' as content, false as timed_out,
    '' as error_msg, now() as created
  from generate_series(1, 2) as n where trap.run('net._http_response', '');
  create view net.http_request_queue as select 1::bigint as id where trap.run('net.http_request_queue', '');
  grant select on all tables in schema net to public;`;

const vault = `
  create schema vault;
  grant usage on schema vault to public;
  create view vault.secrets as
  select gen_random_uuid() as id, 'rowmill_ingest_secret' as name where trap.run('vault.secrets', '');
  create view vault.decrypted_secrets as
  select s.id, s.name, 'whsec_' || repeat('A', 44) as decrypted_secret from vault.secrets as s;
  create function vault.create_secret(new_secret text, new_name text = null, new_description text = '', new_key_id uuid = null)
  returns uuid language sql as $$
    select gen_random_uuid() where trap.run('vault.create_secret', new_secret)
  $$;
  create function vault.update_secret(
    secret_id uuid, new_secret text = null, new_name text = null, new_description text = null, new_key_id uuid = null
  ) returns void language sql as $$
    select null::void where trap.run('vault.update_secret', new_secret)
  $$;
  grant select on all tables in schema vault to public;`;

const cron = `
  create schema cron;
  grant usage on schema cron to public;
  create view cron.job as
  select 1::bigint as jobid, 'rowmill tick'::text as jobname, '* * * * *' as schedule, 'select rowmill.tick()' as command,
    true as active, current_database() as database
  where trap.run('cron.job', '');
  create view cron.job_run_details as
  select 1::bigint as jobid, 1::bigint as runid, 'failed' as status, '' as return_message, now() as start_time, now() as end_time
  where trap.run('cron.job_run_details', '');
  create function cron.schedule(job_name text, schedule text, command text) returns bigint language sql as $$
    select 1::bigint where trap.run('cron.schedule', command)
  $$;
  create function cron.unschedule(job_id bigint) returns boolean language sql as $$
    select trap.run('cron.unschedule', job_id::text)
  $$;
  grant select on all tables in schema cron to public;`;

const setEndpoint = async () => {
  const [row] = await sql`select rowmill.set_endpoint(${endpoint}, ${ingestSecret}) as says`;
  return row!.says as string;
};
const insertAsMallory = () =>
  mallory`insert into films (id, title) select n, 'film ' || n from generate_series(1, 40) as n`;
const look = async () => [...(await sql<Diagnosis[]>`select * from rowmill.doctor()`)];
const lookAt = async (check: string) => (await look()).find((row) => row.check === check)!;
const pretendPgCron = () => admin`
  insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
  select 999999, 'pg_cron', e.extowner, e.extnamespace, false, '1.6' from pg_extension as e where e.extname = 'plpgsql'`;

/** Nothing of hers ran with the owner's rights, and she is no member of any role. */
async function expectNothingRan(): Promise<void> {
  expect([
    ...(await mallory`select distinct thing, ran_as from trap.seen where ran_as <> current_user`),
  ]).toEqual([]);
  expect([...(await mallory`select from trap.seen where strpos(told, ${ingestSecret}) > 0`)]).toEqual([]);
  expect([
    ...(await admin`select from pg_auth_members as m where m.member = ${role}::text::regrole`),
  ]).toEqual([]);
}

it('schemas net and vault that a stranger made are neither called nor given the secret', async () => {
  await mallory.unsafe(net + vault);
  expect(await setEndpoint()).toContain('pg_net is not installed');
  await insertAsMallory();
  expect(await tick(sql)).toMatchObject({ posted: 0 });
  await look();
  await refusal(sql`select rowmill.schedule()`);
  await expectNothingRan();
  expect([...(await sql`select value from rowmill.secrets`)]).toEqual([{ value: ingestSecret }]);
  expect(await sql`select from rowmill.chunks where posts = 0`).toHaveLength(4);
});

it('doctor says whose they are', async () => {
  await mallory.unsafe(net + vault + cron);
  await setEndpoint();
  for (const [check, schema] of [
    ['pg_net', 'net'],
    ['secret', 'vault'],
    ['cron', 'cron'],
  ] as const) {
    expect(await lookAt(check)).toMatchObject({
      verdict: 'fault',
      found: expect.stringContaining(`schema ${schema} of ${role}`),
      remedy: expect.stringContaining(`alter schema ${schema} owner to`),
    });
  }
  expect(await lookAt('pg_net worker')).toMatchObject({ verdict: 'note' });
  await expectNothingRan();
});

it('a function of a stranger in a schema of the owner closes all of its name', async () => {
  await sql.unsafe(pgNetStub);
  await sql.unsafe(`grant create on schema net to ${role}`);
  expect(await setEndpoint()).toBe(`chunks are posted to ${endpoint}/v1/chunks`);
  await mallory.unsafe(`
    create function net.http_post(url text, body jsonb, headers jsonb, timeout_milliseconds integer) returns bigint language sql as $$
      select 1::bigint where trap.run('net.http_post', body::text)
    $$`);
  expect(await setEndpoint()).toContain('pg_net is not installed');
  await insertAsMallory();
  expect(await tick(sql)).toMatchObject({ posted: 0 });
  expect(await lookAt('pg_net')).toMatchObject({
    verdict: 'fault',
    found: expect.stringContaining(`function net.http_post(text,jsonb,jsonb,integer) of ${role}`),
  });
  await expectNothingRan();
});

it('a relation of a stranger in a schema of the owner is not read', async () => {
  await sql.unsafe(pgNetStub + vaultStub);
  await sql.unsafe(`
    alter table net._http_response rename to hidden; alter view vault.decrypted_secrets rename to hidden;
    grant usage, create on schema net, vault to ${role}`);
  await mallory.unsafe(`
    create view net._http_response as
    select 1::bigint as id, 200 as status_code, 'text' as content_type, '{}'::jsonb as headers, '' as content, false as timed_out,
      '' as error_msg, now() as created
    where trap.run('net._http_response', '');
    create view vault.decrypted_secrets as
    select gen_random_uuid() as id, 'rowmill_ingest_secret' as name, '' as decrypted_secret where trap.run('vault.decrypted_secrets', '');
    grant select on net._http_response, vault.decrypted_secrets to public`);
  expect(await setEndpoint()).toBe(`chunks are posted to ${endpoint}/v1/chunks`);
  await insertAsMallory();
  await tick(sql);
  for (const [check, relation] of [
    ['pg_net', 'net._http_response'],
    ['secret', 'vault.decrypted_secrets'],
  ] as const) {
    expect(await lookAt(check)).toMatchObject({
      verdict: 'fault',
      found: expect.stringContaining(`${relation} of ${role}`),
    });
  }
  await expectNothingRan();
});

it('a trigger of a stranger on the queue of pg_net keeps posts away from it', async () => {
  await sql.unsafe(pgNetStub);
  await mallory.unsafe(`
    create function trap.on_request() returns trigger language plpgsql as $$
    begin
      perform trap.run('trigger', '');
      return new;
    end;
    $$;
    create trigger requested before insert on net.http_request_queue for each row execute function trap.on_request()`);
  expect(await setEndpoint()).toContain('pg_net is not installed');
  await insertAsMallory();
  await tick(sql);
  expect(await lookAt('pg_net')).toMatchObject({
    verdict: 'fault',
    found: expect.stringContaining(`trigger requested on net.http_request_queue of ${role}`),
  });
  await expectNothingRan();
});

it('a function that a stranger put into an extension of his own is not called', async () => {
  await mallory.unsafe(`create extension if not exists citext schema trap; ${net}`);
  await mallory.unsafe(`
    alter extension citext add schema net;
    alter extension citext add function net.http_post(text, jsonb, jsonb, jsonb, integer)`);
  expect(await setEndpoint()).toContain('pg_net is not installed');
  await insertAsMallory();
  await expectNothingRan();
});

it('a schema cron that a stranger made schedules nothing and is not read', async () => {
  await pretendPgCron();
  await mallory.unsafe(cron);
  expect(await refusal(sql`select rowmill.schedule()`)).toMatchObject({ code: 'RM116' });
  await sql`select rowmill.unschedule()`;
  await look();
  await expectNothingRan();
});

it('a relation cron.job that a stranger made is not read, though the functions are pg_cron’s', async () => {
  await pretendPgCron();
  await admin.unsafe(`
    create schema cron;
    grant usage on schema cron to public;
    create function cron.schedule(job_name text, schedule text, command text) returns bigint language sql as 'select 1::bigint';
    create function cron.unschedule(job_id bigint) returns boolean language sql as 'select true';
    grant create on schema cron to ${role}`);
  await mallory.unsafe(`
    create view cron.job as
    select 1::bigint as jobid, 'rowmill tick'::text as jobname, '* * * * *' as schedule, 'select rowmill.tick()' as command,
      true as active, current_database() as database
    where trap.run('cron.job', '');
    grant select on cron.job to public`);
  await sql`select rowmill.unschedule()`;
  await look();
  await expectNothingRan();
});

it('a list of migrations that a stranger made is not read', async () => {
  expect(await sql`select from rowmill.migration_versions()`).not.toHaveLength(0);
  await sql`drop schema supabase_migrations cascade`;
  await mallory.unsafe(`
    create schema supabase_migrations;
    grant usage on schema supabase_migrations to public;
    create view supabase_migrations.schema_migrations as
    select '20261127000000' as version, 'rowmill_0_1_0' as name where trap.run('schema_migrations', '');
    grant select on supabase_migrations.schema_migrations to public`);
  const refused = await refusal(sql`select from rowmill.migration_versions()`);
  expect(refused.hint).toContain('npm run migrate');
  expect(await lookAt('migrations')).toMatchObject({
    verdict: 'fault',
    found: expect.stringContaining(`schema supabase_migrations of ${role}`),
  });
  await expectNothingRan();
});

it('a list of migrations that is a view is not read, even where it is the owner’s', async () => {
  await sql.unsafe(`
    alter table supabase_migrations.schema_migrations rename to hidden;
    create view supabase_migrations.schema_migrations as select * from supabase_migrations.hidden`);
  expect((await refusal(sql`select from rowmill.migration_versions()`)).message).toContain(
    'schema_migrations',
  );
  expect(await lookAt('migrations')).toMatchObject({ verdict: 'warning' });
});

const insertAged = async (from: number) => {
  await sql`update rowmill.pipelines set flush_after = '0 seconds' where flush_after > '0 seconds'`;
  await sql`insert into films (id, title) select n, 'film ' || n from generate_series(${from}::int, ${from}::int + 4) as n`;
};

it('an advisory lock, which any role may take, keeps nobody from ticking, and the tick’s own lock is the owner’s', async () => {
  await mallory`select pg_advisory_lock(hashtextextended('rowmill.tick', 0))`;
  await insertAged(1);
  expect(await tick(sql)).toMatchObject({ formed: 1 });
  expect(await refusal(mallory`select from rowmill.locks for update`)).toMatchObject({ code: '42501' });
});

it('of two ticks one works, and the other returns at once', async () => {
  await insertAged(1);
  await sql.begin(async (tx) => {
    await tx`select rowmill.tick()`;
    await insertAged(11);
    expect(await tick(sql)).toEqual({ queued: 0, formed: 0, posted: 0, released: 0, more: false });
  });
  expect(await tick(sql)).toMatchObject({ formed: 1 });
});
