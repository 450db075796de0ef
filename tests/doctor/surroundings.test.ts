import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Diagnosis } from '../../src/doctor/diagnosis.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createDatabase } from '../support/database.ts';
import { ingestSecret } from '../support/service.ts';
import { createFilms, createPipeline } from '../support/sql-factories.ts';
import { type DoctorWorld, startDoctorWorld } from './doctor-world.ts';

describe('doctor() finds out what is around:', () => {
  let world: DoctorWorld;
  let sql: DoctorWorld['sql'];
  beforeAll(async () => {
    world = await startDoctorWorld();
    sql = world.sql;
  });
  afterAll(() => world.stop());
  beforeEach(async () => {
    await sql`delete from rowmill.workers`;
    await sql`select rowmill.renew_leases('w1', '1.0.0', '{}')`;
  });

  it('the list of migrations lacks one, or is not there', async () => {
    expect(await world.lookAt('migrations')).toMatchObject({ verdict: 'ok' });
    await sql`update supabase_migrations.schema_migrations set name = 'of_' || name`;
    expect(await world.lookAt('migrations')).toMatchObject({ verdict: 'fault', remedy: 'npm run migrate' });
    await sql`update supabase_migrations.schema_migrations set name = substr(name, 4)`;
    await sql`alter schema supabase_migrations rename to hidden_migrations`;
    expect(await world.lookAt('migrations')).toMatchObject({ verdict: 'warning' });
    await sql`alter schema hidden_migrations rename to supabase_migrations`;
    expect(await world.lookAt('migrations')).toMatchObject({ verdict: 'ok' });
  });

  it('no worker runs, or several of different versions do', async () => {
    expect(await world.lookAt('workers')).toMatchObject({
      verdict: 'ok',
      found: expect.stringContaining('1 of version 1.0.0'),
    });
    await sql`select rowmill.renew_leases('w2', '1.1.0', '{}')`;
    expect(await world.lookAt('workers')).toMatchObject({
      verdict: 'note',
      found: '2, of versions 1.0.0, 1.1.0',
    });
    await sql`update rowmill.workers set seen_at = now() - interval '3 minutes'`;
    expect(await world.lookAt('workers')).toMatchObject({
      verdict: 'fault',
      found: 'none; the last was seen 3 minutes ago',
      remedy: expect.stringContaining('npm start'),
    });
    await sql`delete from rowmill.workers`;
    expect(await world.lookAt('workers')).toMatchObject({ verdict: 'fault' });
  });

  describe('of pg_cron', () => {
    beforeAll(async () => {
      // The tables of pg_cron 1.6, as far as they are read.
      await sql.unsafe(`
        create schema cron;
        create table cron.job (
          jobid bigint generated always as identity, schedule text, command text, active boolean default true, jobname text
        );
        create table cron.job_run_details (
          jobid bigint, runid bigint generated always as identity primary key, status text, return_message text,
          start_time timestamptz, end_time timestamptz
        )`);
    });
    afterAll(() => sql`drop schema cron cascade`);
    const ran = (status: string, ago: string, message = '') =>
      sql`insert into cron.job_run_details (jobid, status, return_message, start_time) select jobid, ${status}, ${message}, now() - ${ago}::text::interval from cron.job`;

    it('that it has no job, with a worker and without', async () => {
      expect(await world.lookAt('cron')).toMatchObject({
        verdict: 'note',
        remedy: expect.stringContaining('schedule()'),
      });
      await sql`delete from rowmill.workers`;
      expect(await world.lookAt('cron')).toMatchObject({ verdict: 'warning' });
    });

    it('that its job never ran, runs, fails, ran long ago, and is switched off', async () => {
      await sql`insert into cron.job (schedule, command, jobname) values ('5 seconds', 'select rowmill.tick()', 'rowmill tick')`;
      expect(await world.lookAt('cron')).toMatchObject({
        verdict: 'note',
        found: expect.stringContaining('no run'),
      });
      await ran('succeeded', '1 hour');
      expect(await world.lookAt('cron')).toMatchObject({
        verdict: 'warning',
        found: expect.stringContaining('60 minutes ago'),
      });
      await ran('failed', '10 seconds', 'ERROR:  permission denied for function tick');
      expect(await world.lookAt('cron')).toMatchObject({
        verdict: 'fault',
        found: expect.stringMatching(/failed 10 s ago: ERROR: permission denied/),
      });
      await ran('succeeded', '5 seconds');
      expect(await world.lookAt('cron')).toMatchObject({
        verdict: 'ok',
        found: 'runs (5 seconds), last 5 s ago',
      });
      await sql`update cron.job set active = false`;
      expect(await world.lookAt('cron')).toMatchObject({
        verdict: 'warning',
        remedy: expect.stringContaining('active => true'),
      });
    });
  });

  it('the worker of pg_net serves another database', async (context) => {
    if (world.pgNet.deliverer === null) return context.skip('the real one does not let it be set');
    await sql.begin(async (tx) => {
      await tx`set local "pg_net.database_name" = 'elsewhere'`;
      const rows = await tx<Diagnosis[]>`select * from rowmill.doctor()`;
      expect(rows.find((row) => row.check === 'pg_net worker')).toMatchObject({
        verdict: 'fault',
        found: 'it serves database elsewhere and no other',
      });
    });
  });

  it('a table is gone or locked, and all the other checks are made', async () => {
    const all = (await world.look()).map((row) => row.check);
    await sql`alter table rowmill.workers rename to hidden_workers`;
    const rows = await world.look();
    await sql`alter table rowmill.hidden_workers rename to workers`;
    expect(rows.map((row) => row.check)).toEqual(all);
    expect(rows.find((row) => row.check === 'workers')).toMatchObject({
      verdict: 'fault',
      found: expect.stringMatching(/the check itself failed: .*workers.*\(42P01\)/),
    });
    expect(rows.find((row) => row.check === 'grants')).toMatchObject({ verdict: 'ok' });

    await sql.begin(async (tx) => {
      await tx`lock table rowmill.workers in access exclusive mode`;
      expect(await world.lookAt('workers')).toMatchObject({
        verdict: 'fault',
        found: expect.stringContaining('55P03'),
      });
    });
  });

  it('in a read-only transaction what can be found there', async () => {
    await world.forgetPings();
    await sql.begin('read only', async (tx) => {
      const rows = await tx`select * from rowmill.doctor()`;
      expect(rows.find((row) => row.check === 'small post')).toMatchObject({ verdict: 'note' });
      expect(rows.find((row) => row.check === 'workers')).toMatchObject({ verdict: 'ok' });
    });
  });

  it('and says that something is ok exactly where there is nothing to do', async () => {
    await sql`delete from rowmill.workers`;
    for (const row of await world.look()) expect(row.remedy === null, row.check).toBe(row.verdict === 'ok');
  });
});

describe('an owner without a superuser’s rights', () => {
  it('hears which of them it lacks for its checks and its tables, and what mends that', async () => {
    const database = await createDatabase({ migrated: false });
    const owner = `doctor_${randomBytes(6).toString('hex')}`;
    const { sql: admin } = database;
    const [{ name }] = (await admin`select current_database() as name`) as unknown as [{ name: string }];
    await admin.unsafe(`
      create role ${owner} login password '${owner}'; grant create on database ${name} to ${owner}; grant all on schema public to ${owner}`);
    const url = new URL(database.url);
    url.username = owner;
    url.password = owner;
    await migrate({ url: url.href });
    const sql = postgres(url.href, { onnotice: () => {}, max: 1 }) as unknown as postgres.Sql;
    const lookAt = async (check: string) =>
      (await sql`select * from rowmill.doctor()`).find((row) => row.check === check)!;
    try {
      await createFilms(sql);
      await createPipeline(sql, { filter: 'note is null' });
      expect(await lookAt('table rights')).toMatchObject({ verdict: 'ok' });

      await sql`alter table films enable row level security`;
      expect(await lookAt('table rights')).toMatchObject({ verdict: 'ok' });
      await sql`alter table films force row level security`;
      const forced = await lookAt('table rights');
      expect(forced).toMatchObject({
        verdict: 'fault',
        found: expect.stringContaining('forced'),
        remedy: 'alter table public.films no force row level security;',
      });
      await sql.unsafe(forced.remedy);
      expect(await lookAt('table rights')).toMatchObject({ verdict: 'ok' });

      await admin.unsafe(`alter table films owner to current_user; revoke all on films from ${owner}`);
      const closed = await lookAt('table rights');
      expect(closed.verdict).toBe('fault');
      for (const lack of [
        'select id, title, summary, note of public.films',
        'update summary of public.films',
        'hides rows',
      ]) {
        expect(closed.found).toContain(lack);
      }
      await admin.unsafe(closed.remedy);
      expect(await lookAt('table rights')).toMatchObject({ verdict: 'ok' });

      await admin.unsafe('create schema net; create table net._http_response (id bigint)');
      await admin.unsafe(
        `create function net.http_post(
          url text, body jsonb, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000
        ) returns bigint language sql as 'select 1::bigint'`,
      );
      expect(await lookAt('pg_net')).toMatchObject({
        verdict: 'warning',
        found: expect.stringContaining('closed to'),
        remedy: expect.stringContaining(`grant usage on schema net to ${owner}`),
      });
      await admin.unsafe(`grant usage on schema net to ${owner}`);
      await sql`select rowmill.set_endpoint('http://127.0.0.1:1', ${ingestSecret})`;
      const unread = await lookAt('pg_net');
      // What nobody could see the answer of is not posted, over and over.
      expect(await sql`select from rowmill.pings`).toEqual([]);
      expect(unread).toMatchObject({ verdict: 'note', remedy: expect.stringContaining('grant select') });
      await admin.unsafe(unread.remedy);
      expect(await lookAt('pg_net')).toMatchObject({ verdict: 'ok' });
      const [{ served }] = (await sql`
        select current_setting('pg_net.database_name', true) as served`) as unknown as [{ served: string }];
      if (served) {
        // The real one is on this server.
        expect(await lookAt('pg_net worker')).toMatchObject({
          verdict: 'fault',
          found: `it serves database ${served} and no other`,
        });
        return;
      }
      const blind = await lookAt('pg_net worker');
      expect(blind).toMatchObject({ verdict: 'note', found: expect.stringContaining('may not see') });
      await admin.unsafe(blind.remedy);
      expect(await lookAt('pg_net worker')).toMatchObject({ verdict: 'fault' });
    } finally {
      await sql.end();
      await admin.unsafe(
        `reassign owned by ${owner} to current_user; drop owned by ${owner}; drop role ${owner}`,
      );
      await database.drop();
    }
  });
});
