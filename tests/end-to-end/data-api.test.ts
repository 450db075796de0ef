import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { type Postgrest, type PostgrestOptions, startPostgrest } from '../support/postgrest.ts';
import { settled, waitFor } from '../support/service.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';

// Whatever TEST_TRANSPORT says: these are about a worker that has nothing but a Data API.
describe('a worker that has a Supabase address and key, and no DATABASE_URL', () => {
  let database: TestDatabase;
  let api: Postgrest;
  let simulator: Simulator;
  let worker: WorkerProcess | undefined;
  const start = async (options: Partial<PostgrestOptions> & { isMigrated?: boolean } = {}) => {
    const { isMigrated = true, ...rest } = options;
    database = await createDatabase({ migrated: isMigrated });
    api = await startPostgrest({ databaseUrl: database.url, ...rest });
  };
  beforeEach(async () => {
    simulator = await startSimulator();
  });
  afterEach(async () => {
    await worker?.kill();
    worker = undefined;
    await simulator.close();
    await api.close();
    await database.drop();
  });

  const startWorker = (env: Record<string, string> = {}, args: string[] = []) => {
    worker = startWorkerProcess(
      {
        SUPABASE_URL: api.url,
        SUPABASE_SERVICE_ROLE_KEY: api.secretKey,
        OPENAI_BASE_URL: simulator.url,
        ...env,
      },
      args,
    );
    return worker;
  };
  const ready = async () => {
    const url = await waitFor('it listens', async () => worker!.lines.find((line) => line.url)?.url);
    const response = await fetch(`${url}/readyz`);
    return { status: response.status, body: await response.json() };
  };
  const reload = () => database.sql`notify pgrst, 'reload schema'`;
  const enrichFilms = async (count: number) => {
    await database.sql`insert into films (title) select 'Film ' || n from generate_series(1, ${count}) as n`;
    await settled(database.sql, 'films');
    const [row] =
      await database.sql`select count(*)::integer as rows from films where summary like title || ':%'`;
    return row!.rows;
  };

  it('takes rows all the way, says how it calls the database, and opens no connection of its own', async () => {
    await start();
    startWorker();
    await worker!.logged('ready');
    expect(worker!.lines.find(({ msg }) => msg === 'listening')).toMatchObject({ over: 'data_api' });
    expect(await ready()).toMatchObject({ status: 200 });
    await createFilmsPipeline(database.sql, { flushAfter: '0 seconds' });
    expect(await enrichFilms(1500)).toBe(1500);
    const names = await database.sql`
      select distinct application_name as name from pg_stat_activity where datname = current_database()`;
    expect(names.map(({ name }) => name)).not.toContain('rowmill');
    const said = worker!.output.out + worker!.output.error;
    for (const key of [api.secretKey, api.serviceKey]) expect(said).not.toContain(key);
  });

  it('stays up while migrations are missing, says which and how, and goes on once they are there', async () => {
    await start({ isMigrated: false });
    startWorker();
    const waiting = await worker!.logged('are missing');
    expect(waiting.msg).toMatch(/Run npm run migrate with DATABASE_URL, or supabase db push/);
    expect((waiting as { missing?: string[] }).missing).toHaveLength(1);
    expect(await ready()).toMatchObject({ status: 503, body: { error: { code: 'migrations_missing' } } });
    await migrate({ url: database.url });
    await reload();
    await worker!.logged('ready');
    expect((await ready()).status).toBe(200);
    await createFilmsPipeline(database.sql, { flushAfter: '0 seconds' });
    await database.sql`update rowmill.settings set poll_every = '100 milliseconds', fetch_after = '1 second'`;
    expect(await enrichFilms(10)).toBe(10);
  });

  it('is the only one that loads supabase-js', async () => {
    await start();
    const hook = `import { registerHooks } from 'node:module'; let isSaid = false;
      registerHooks({ load: (url, context, next) => {
        if (url.includes('/@supabase/') && !isSaid) { isSaid = true; console.log('{"msg":"loads supabase-js"}'); }
        return next(url, context);
      } });`;
    const NODE_OPTIONS = `--import=data:text/javascript;base64,${Buffer.from(hook).toString('base64')}`;
    const said = () => worker!.lines.map(({ msg }) => msg);
    startWorker({ NODE_OPTIONS });
    await worker!.logged('ready');
    expect(said()).toContain('loads supabase-js');
    await worker!.kill();
    startWorker({ NODE_OPTIONS, DATABASE_URL: database.url });
    await worker!.logged('ready');
    expect(worker!.lines.find(({ msg }) => msg === 'listening')).toMatchObject({ over: 'postgres' });
    expect(said()).not.toContain('loads supabase-js');
  });

  it('names the migrations that are missing where the schema is there, and goes on once they are recorded', async () => {
    await start();
    const [taken] = await database.sql`
      delete from supabase_migrations.schema_migrations where name like 'rowmill%' returning *`;
    startWorker();
    const line = await worker!.logged('are missing');
    expect((line as { missing?: string[] }).missing).toEqual([taken!.version]);
    await database.sql`insert into supabase_migrations.schema_migrations ${database.sql(taken!)}`;
    await worker!.logged('ready');
  });

  it('waits until the schema is exposed, and until its role may call it', async () => {
    await start({ exposed: ['public'] });
    await database.sql`revoke usage on schema rowmill from service_role`;
    startWorker();
    await worker!.logged('Add rowmill to the Exposed schemas');
    expect(await ready()).toMatchObject({ status: 503, body: { error: { code: 'schema_not_exposed' } } });
    api.exposed.push('rowmill');
    await worker!.logged('may not call the functions of schema rowmill');
    expect(await ready()).toMatchObject({ status: 503, body: { error: { code: 'rights_missing' } } });
    await database.sql`select rowmill.grant_to_workers()`;
    await worker!.logged('ready');
  });

  it('leaves with 1 where the key is of another project, and shows it to nobody', async () => {
    await start();
    const key = 'sb_secret_of_another_project';
    startWorker({ SUPABASE_SERVICE_ROLE_KEY: key });
    expect(await worker!.exited()).toBe(1);
    expect(worker!.output.error).toMatch(/^The Data API does not take SUPABASE_SERVICE_ROLE_KEY/);
    expect(worker!.output.out + worker!.output.error).not.toContain(key);
  });

  it('leaves with 1 where the address or the key is missing', async () => {
    await start();
    startWorker({ SUPABASE_SERVICE_ROLE_KEY: '' });
    expect(await worker!.exited()).toBe(1);
    expect(worker!.output.error).toContain('SUPABASE_SERVICE_ROLE_KEY: expected it beside SUPABASE_URL');
  });

  it.each(['migrate', 'preview'])('has no "%s" without DATABASE_URL, and says so', async (command) => {
    await start();
    startWorker({}, command === 'preview' ? ['preview', '--pipeline', 'films'] : [command]);
    expect(await worker!.exited()).toBe(1);
    expect(worker!.output.error).toContain(`npm run ${command} needs DATABASE_URL`);
  });

  it('waits while the Data API is away, before it is ready and after, and loses and repeats nothing', async () => {
    await start();
    const { port } = new URL(api.url);
    const { jwtSecret, serviceKey } = api;
    await database.sql`update rowmill.settings set poll_every = '100 milliseconds', fetch_after = '1 second', lease = '3 seconds', adopt_after = '4 seconds'`;
    await createFilmsPipeline(database.sql, { chunkSize: 100, flushAfter: '0 seconds' });
    await api.close();
    startWorker({ SUPABASE_SERVICE_ROLE_KEY: serviceKey });
    await worker!.logged('out of reach');
    expect(await ready()).toMatchObject({ status: 503, body: { error: { code: 'database_unreachable' } } });
    const again = async () => {
      api = await startPostgrest({ databaseUrl: database.url, port: Number(port), jwtSecret });
    };
    await again();
    await worker!.logged('ready');
    await database.sql`insert into films (title) select 'Film ' || n from generate_series(1, 2000) as n`;
    await waitFor('work is under way', async () => simulator.ledger.executed > 0);
    await api.close();
    await worker!.logged('every job is tried again until it is back');
    expect((await ready()).status).toBe(503);
    await again();
    await worker!.logged('the database is back');
    await settled(database.sql, 'films');
    const [row] =
      await database.sql`select count(*)::integer as rows from films where summary like title || ':%'`;
    expect(row!.rows).toBe(2000);
    expect(simulator.ledger.summary()).toMatchObject({ executed: 2000, repeatedPrompts: 0 });
  });

  it('repeats no request where the answers to its own calls are lost', async () => {
    await start();
    await database.sql`update rowmill.settings set poll_every = '100 milliseconds', fetch_after = '1 second', lease = '3 seconds', adopt_after = '4 seconds'`;
    await createFilmsPipeline(database.sql, { chunkSize: 100, flushAfter: '0 seconds' });
    const lost = new Map<string, number>();
    // Each of these was done, and nobody hears of it: the first two times that it is asked for.
    api.interfere = (name) => {
      const times = lost.get(name) ?? 0;
      if (times >= 2) return undefined;
      lost.set(name, times + 1);
      return 'lose';
    };
    startWorker();
    await worker!.logged('ready');
    await database.sql`insert into films (title) select 'Film ' || n from generate_series(1, 500) as n`;
    await settled(database.sql, 'films');
    for (const name of [
      'claim_work',
      'hold_rows',
      'begin_batch',
      'start_batch',
      'apply_results',
      'finish_harvest',
    ]) {
      expect(lost.get(name), name).toBe(2);
    }
    const [row] =
      await database.sql`select count(*)::integer as rows from films where summary like title || ':%'`;
    expect(row!.rows).toBe(500);
    expect(simulator.ledger.summary()).toMatchObject({ executed: 500, repeatedPrompts: 0 });
  });
});
