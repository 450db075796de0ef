import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { isOverHttp, openAccess } from '../support/service.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';

describe('the process of a worker', () => {
  let database: TestDatabase;
  let simulator: Simulator;
  let access: Awaited<ReturnType<typeof openAccess>>;
  const workers: WorkerProcess[] = [];
  beforeEach(async () => {
    // Through a Data API a worker cannot migrate.
    database = await createDatabase({ migrated: isOverHttp });
    access = await openAccess(database.url);
    simulator = await startSimulator();
  });
  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.kill();
    await simulator.close();
    await access.close();
    await database.drop();
  });

  const start = (args: string[] = [], env: Record<string, string> = {}) => {
    const given = { ...access.env, OPENAI_BASE_URL: simulator.url, ...env };
    const worker = startWorkerProcess(given, args);
    workers.push(worker);
    return worker;
  };

  // "migrate" is about DATABASE_URL alone; without it, see data-api.test.ts.
  it.skipIf(isOverHttp)(
    'migrates with "migrate", says what it did, and finds nothing to do the next time',
    async () => {
      const first = start(['migrate']);
      expect(await first.exited()).toBe(0);
      expect(first.output.out).toMatch(/^applied \d+/);
      const second = start(['migrate']);
      expect(await second.exited()).toBe(0);
      expect(second.output.out).toContain('nothing to do');
    },
  );

  // Through a Data API a worker sees neither.
  it.skipIf(isOverHttp).each([
    ['a worker', []],
    ['"migrate"', ['migrate']],
  ])('%s ends with 1 where no waiting helps, and says what to do without a stack', async (_what, args) => {
    const ends = async (first: RegExp, env: Record<string, string>) => {
      const process = start(args, env);
      expect(await process.exited()).toBe(1);
      const lines = process.output.error.trimEnd().split('\n');
      expect(lines[0]).toMatch(first);
      expect(lines).toHaveLength(3);
      expect(process.output.error).not.toMatch(/^ +at /m);
    };
    const ascii = await createDatabase({ encoding: 'SQL_ASCII' });
    await ends(/^Expected a database with encoding UTF8, came SQL_ASCII/, {
      DATABASE_URL: ascii.url,
    }).finally(() => ascii.drop());
    await database.sql.unsafe(`
      create schema rowmill; create table rowmill.pipelines (id bigint);
      create schema supabase_migrations;
      create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
      insert into supabase_migrations.schema_migrations values ('20261121000100', null, 'schema')`);
    await ends(/^Expected schema rowmill to be empty.*1 unreleased/, {});
    await database.sql`insert into supabase_migrations.schema_migrations values ('20400101000000', null, 'rowmill_9_0_0')`;
    await ends(/^Expected no migrations of Rowmill beyond this program's/, {});
  });

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'on %s finishes what is in hand and leaves with 0 within 10 s',
    async (signal) => {
      const worker = start();
      await worker.logged('ready');
      await createFilmsPipeline(database.sql);
      await database.sql`insert into films (title) select 'Film ' || n from generate_series(1, 20000) as n`;
      await worker.logged('batch created');
      const at = performance.now();
      worker.child.kill(signal);
      expect(await worker.exited()).toBe(0);
      expect(performance.now() - at).toBeLessThan(10_000);
      expect(worker.lines.at(-1)!.msg).toBe('stopped');
      // Nothing is left between two states: no chunk under a lease, no intent without a batch.
      expect(await database.sql`select from rowmill.chunks where state = 'accepted'`).toHaveLength(0);
      expect(
        await database.sql`select from rowmill.batch_processing_details where state = 'preparing'`,
      ).toHaveLength(0);
    },
  );

  it('on a signal while it starts, leaves as soon as it has started', async () => {
    const worker = start();
    await worker.logged(isOverHttp ? 'listening' : 'migrations applied');
    worker.child.kill('SIGTERM');
    expect(await worker.exited()).toBe(0);
    expect(worker.lines.at(-1)!.msg).toBe('stopped');
  });

  it('names chunk and batch in the lines about them, and no secret in any', async () => {
    const key = access.env.SUPABASE_SERVICE_ROLE_KEY ?? 'no key';
    const worker = start([], {
      OPENAI_API_KEY: 'sk-very-secret',
      ROWMILL_INGEST_SECRET: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
    });
    await worker.logged('ready');
    await createFilmsPipeline(database.sql);
    await database.sql`insert into films (title) values ('Film 1')`;
    expect(await worker.logged('batch created')).toMatchObject({ chunk: 1, batch: 1 });
    expect(await worker.logged('batch ended')).toMatchObject({ batch: 1 });
    expect(await worker.logged('batch harvested')).toMatchObject({ batch: 1 });
    expect(worker.output.out + worker.output.error).not.toContain('very-secret');
    expect(worker.output.out + worker.output.error).not.toContain(key);
    expect(worker.output.out + worker.output.error).not.toContain(Buffer.alloc(32, 7).toString('base64'));
  });

  it('says loudly that a simulator answers where there is no key', async () => {
    const worker = start([], { OPENAI_API_KEY: '', OPENAI_BASE_URL: '' });
    expect(await worker.logged('SIMULATOR')).toMatchObject({ level: 40 });
  });

  it('without a key asks the simulator that it shares with others, where it is told of one', async () => {
    const env = { OPENAI_API_KEY: '', OPENAI_BASE_URL: '', ROWMILL_SIMULATOR_URL: simulator.url };
    const worker = start([], env);
    expect(await worker.logged('SIMULATOR')).toMatchObject({ level: 40, url: simulator.url });
    await worker.logged('ready');
    await createFilmsPipeline(database.sql);
    await database.sql`insert into films (title) values ('Film 1')`;
    await worker.logged('batch harvested');
    expect(simulator.ledger.executed).toBe(1);
  });

  it('a port that is taken ends with 1 and says what to do', async () => {
    const worker = start([], { PORT: new URL(simulator.url).port });
    expect(await worker.exited()).toBe(1);
    expect(worker.output.error).toMatch(/^Port \d+ of 127\.0\.0\.1 is taken\. Set PORT/);
  });

  it.each([
    ['an environment that does not fit', [], { PORT: 'http' }, 'PORT'],
    ['an unknown command', ['migrat'], {}, 'usage'],
  ])('%s ends with 1 and says why', async (_what, args, env, why) => {
    const worker = start(args, env as Record<string, string>);
    expect(await worker.exited()).toBe(1);
    expect(worker.output.error).toContain(why);
  });
});
