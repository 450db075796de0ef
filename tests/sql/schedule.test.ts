import { randomBytes } from 'node:crypto';
import pino from 'pino';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { startService } from '../../src/service.ts';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createDatabase } from '../support/database.ts';
import { whyNoDebianPostgres } from '../support/debian-postgres.ts';
import { startDeliverer } from '../support/pg-net-deliverer.ts';
import { pgNetStub } from '../support/pg-net-stub.ts';
import { startPostgrest } from '../support/postgrest.ts';
import { startScaledWorker } from '../support/scaled-worker.ts';
import { ingestSecret, waitFor } from '../support/service.ts';
import { createFilms, createPipeline, insertFilms, refusal } from '../support/sql-factories.ts';
import { type SupabaseServer, startSupabaseServer } from '../support/supabase-server.ts';

const why = whyNoDebianPostgres(['pg_cron', 'pg_stat_statements']);
if (why) console.warn(`pg_cron is not tried: ${why}`);

it('schedule says what is missing where pg_cron is not there', async () => {
  const database = await createDatabase();
  try {
    expect(await refusal(database.sql`select rowmill.schedule()`)).toMatchObject({
      code: 'RM116',
      message: 'pg_cron is not in this database, or not open to this role',
    });
    const [row] = await database.sql`select rowmill.unschedule() as says`;
    expect(row!.says).toBe('pg_cron had nothing of Rowmill’s'.replace('’', "'"));
  } finally {
    await database.drop();
  }
});

describe.skipIf(why !== null)('with pg_cron, as Supabase’s postgres', () => {
  let supabase: SupabaseServer;
  let sql: postgres.Sql;
  beforeAll(async () => {
    supabase = await startSupabaseServer();
    await migrate({ url: supabase.url });
    sql = postgres(supabase.url, { max: 3, onnotice: () => {} });
  });
  afterAll(async () => {
    await sql?.end();
    await supabase?.stop();
  });

  it('schedule puts the tick there once, and unschedule takes it back', async () => {
    const [first] = await sql`select rowmill.schedule() as says`;
    expect(first!.says).toMatch(/^rowmill\.tick\(\) runs every 00:00:10 \(pg_cron job \d+\)$/);
    const [again] = await sql`select rowmill.schedule('5 minutes') as says`;
    expect(again!.says).toMatch(/every 00:05:00/);
    expect(await sql`select jobname::text, schedule, command from cron.job order by jobid`).toEqual([
      { jobname: 'rowmill tick', schedule: '*/5 * * * *', command: 'select rowmill.tick()' },
      {
        jobname: 'rowmill tick: forget old runs',
        schedule: '17 3 * * *',
        command: expect.stringMatching(/^delete from cron\.job_run_details where jobid = \d+ and end_time </),
      },
    ]);
    await sql`select rowmill.unschedule()`;
    expect(await sql`select from cron.job`).toHaveLength(0);
    await sql`select rowmill.unschedule()`;
  });

  it('asks pg_cron from 1.5 on for seconds', async () => {
    const admin = postgres(supabase.adminUrl, { max: 1, onnotice: () => {} });
    try {
      await admin`update pg_extension set extversion = '1.6' where extname = 'pg_cron'`;
      // This one is older than it says, and names what it was asked for.
      expect((await refusal(sql`select rowmill.schedule()`)).message).toBe('invalid schedule: 10 seconds');
      const [row] = await sql`select rowmill.schedule('1 minute') as says`;
      expect(row!.says).toMatch(/every 00:01:00/);
      expect(await sql`select schedule, command from cron.job where jobname = 'rowmill tick'`).toEqual([
        { schedule: '* * * * *', command: 'select rowmill.tick()' },
      ]);
      await sql`select rowmill.unschedule()`;
    } finally {
      await admin`update pg_extension set extversion = '1.4-1' where extname = 'pg_cron'`;
      await admin.end();
    }
  });

  it.each(['0 seconds', '-5 seconds', '1.5 seconds', '90 seconds', '61 minutes', '1 month'])(
    'an interval of %s is refused',
    async (every) => {
      expect(await refusal(sql`select rowmill.schedule(${every}::text::interval)`)).toMatchObject({
        code: 'RM109',
      });
    },
  );

  it('the old runs are forgotten by what is scheduled for it', async () => {
    await sql`select rowmill.schedule()`;
    const [job] = await sql`select jobid, command from cron.job where jobname like '%old runs'`;
    const [tick] = await sql`select jobid from cron.job where jobname = 'rowmill tick'`;
    const admin = postgres(supabase.adminUrl, { max: 1 });
    try {
      await admin`
        insert into cron.job_run_details (jobid, runid, username, end_time)
        values (${tick!.jobid}, 100001, 'postgres', now() - interval '8 days'), (${tick!.jobid}, 100002, 'postgres', now()),
          (${job!.jobid + 1000}, 100003, 'postgres', now() - interval '8 days')`;
    } finally {
      await admin.end();
    }
    await sql.unsafe(job!.command);
    expect(await sql`select runid from cron.job_run_details where runid > 100000 order by runid`).toEqual([
      { runid: '100002' },
      { runid: '100003' },
    ]);
    await sql`select rowmill.unschedule()`;
  });

  describe('every 2 seconds', () => {
    beforeAll(async () => {
      await createFilms(sql);
      await createPipeline(sql, { flush_after: '1 second' });
      await sql`select rowmill.schedule('2 seconds')`;
    });
    afterAll(() => sql`select rowmill.unschedule()`);

    it('the job ticks several times a minute, each time in a transaction of its own', async () => {
      // The first run begins with the next minute.
      for (const [at, from] of [1, 11, 21].entries()) {
        await insertFilms(sql, from, from + 4);
        await waitFor(
          'pg_cron has formed a chunk',
          async () => {
            const [row] = await sql`select count(*)::integer as chunks from rowmill.chunks`;
            return row!.chunks === at + 1;
          },
          at === 0 ? 75_000 : 20_000,
        );
      }
      expect(await sql`select distinct row_count from rowmill.chunks`).toEqual([{ row_count: 5 }]);
    }, 140_000);

    it('a worker over HTTP alone, without a cron job of its own, is woken for chunks and for batches', async () => {
      const admin = postgres(supabase.adminUrl, { max: 1, onnotice: () => {} });
      await admin.unsafe(pgNetStub).finally(() => admin.end());
      const deliverer = await startDeliverer(supabase.adminUrl);
      const api = await startPostgrest({ databaseUrl: supabase.adminUrl });
      const simulator = await startSimulator({ delays: { validatingMs: 4000 } });
      const scaled = await startScaledWorker(async () => {
        const never = '0 0 1 1 *';
        const config = readConfig({
          ...{ SUPABASE_URL: api.url, SUPABASE_SERVICE_ROLE_KEY: api.keyFor('service_role') },
          ...{ OPENAI_API_KEY: 'test', OPENAI_BASE_URL: simulator.url, PORT: '0' },
          ...{ ROWMILL_INGEST_SECRET: ingestSecret, ROWMILL_TICK_CRON: never, ROWMILL_POLL_CRON: never },
        });
        const service = await startService(config, pino({ level: 'silent' }));
        await service.ready;
        return service;
      });
      const states = async (state: string) =>
        (await sql`select from rowmill.batch_processing_details where state = ${state}`).length;
      try {
        await sql`
          update rowmill.settings
          set lease = '3 seconds', adopt_after = '10 seconds', repost_after = '2 seconds', poll_every = '1 second',
            fetch_after = '1 hour'`;
        // The chunks that stand here by now are posted as well.
        await sql`select rowmill.set_endpoint(${scaled.url}, ${ingestSecret})`;
        await insertFilms(sql, 31, 35);
        await waitFor('four batches run', async () => (await states('running')) === 4, 90_000);
        expect(scaled.starts()).toBe(1);
        await scaled.scaleToZero();
        await waitFor(
          'all is enriched',
          async () => {
            const [row] = await sql`select count(*)::integer as missing from films where summary is null`;
            return row!.missing === 0;
          },
          90_000,
        );
        expect(scaled.starts()).toBeGreaterThanOrEqual(2);
        expect(await sql`select from rowmill.chunks where posts = 0`).toHaveLength(0);
        expect(simulator.ledger).toMatchObject({ executed: 20, unexplainedRepeats: 0 });
        const statuses = await sql`select distinct status_code from net._http_response order by 1`;
        expect(statuses).toEqual([{ status_code: 200 }, { status_code: 202 }]);
      } finally {
        await scaled.stop();
        await simulator.close();
        await api.close();
        await deliverer.stop();
        await sql`select rowmill.set_endpoint(null)`;
      }
    }, 240_000);
  });

  it('the secret stands neither in pg_stat_statements nor in the server’s log', async () => {
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    await sql`select rowmill.set_endpoint('http://127.0.0.1:8787', ${secret})`;
    await sql.unsafe(`select rowmill.set_endpoint('http://127.0.0.1:8787', '${secret}')`);
    const [refused] = await sql.unsafe(`select rowmill.set_endpoint('nonsense', '${secret}') as says`);
    expect(refused!.says).toBe(
      "nothing was set: the url is not an http or https address. url is 'nonsense'.",
    );
    expect(await refusal(sql`select rowmill.set_endpoint('nonsense', ${secret})`)).toMatchObject({
      code: 'RM109',
    });
    const statements = await sql`select query from extensions.pg_stat_statements`;
    const text = JSON.stringify(statements);
    expect(text).toContain('set_endpoint');
    expect(text.includes(secret)).toBe(false);
    expect((await supabase.server.log()).includes(secret)).toBe(false);
  });
});
