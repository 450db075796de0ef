import { afterEach, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { pgNetStub } from '../support/pg-net-stub.ts';
import { ingestSecret, settled, waitFor } from '../support/service.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';
import { insist, type OwnPostgres, startOwnPostgres } from './own-postgres.ts';

describe('with a database that goes away', () => {
  let database: OwnPostgres;
  let simulator: Simulator;
  const workers: WorkerProcess[] = [];
  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.kill();
    await simulator.close();
    await database.stop();
  });

  const startAll = async (settings: Record<string, string> = {}) => {
    database = await startOwnPostgres(settings);
    simulator = await startSimulator();
  };
  const startWorker = (env: Record<string, string> = {}) => {
    const worker = startWorkerProcess({
      DATABASE_URL: database.url,
      OPENAI_BASE_URL: simulator.url,
      ...env,
    });
    workers.push(worker);
    return worker;
  };
  const status = async (worker: WorkerProcess, route: string) => {
    const url = await waitFor('it listens', async () => worker.lines.find((line) => line.url)?.url);
    return (await fetch(`${url}${route}`)).status;
  };

  it('a worker waits for it, says so, tells probes, and starts when it comes', async () => {
    await startAll();
    await database.crash();
    const worker = startWorker();
    const line = await worker.logged('No Postgres answers at 127.0.0.1:');
    expect(line.msg).toMatch(/Start it, or correct DATABASE_URL; trying again in 0\.5 s\.$/);
    expect(await status(worker, '/healthz')).toBe(200);
    expect(await status(worker, '/readyz')).toBe(503);
    await database.start();
    await worker.logged('ready');
    expect(await status(worker, '/readyz')).toBe(200);
    expect(worker.output.out).not.toContain(new URL(database.url).password);
  });

  it('a worker that waits leaves at once on SIGTERM', async () => {
    await startAll();
    await database.crash();
    const worker = startWorker();
    await worker.logged('No Postgres answers');
    worker.child.kill('SIGTERM');
    expect(await worker.exited()).toBe(0);
    expect(worker.lines.at(-1)!.msg).toBe('stopped');
    await database.start();
  });

  it('a worker does not wait where that would not help, and says why', async () => {
    await startAll();
    const wrong = new URL(database.url);
    wrong.password = 'wrong';
    const worker = startWorker({ DATABASE_URL: wrong.href });
    expect(await worker.exited()).toBe(1);
    expect(worker.output.error).toContain('password authentication failed');
  });

  it('a crash in the middle of an import of 50,000 rows loses none, and the worker comes back by itself', async () => {
    await startAll();
    const { sql } = database;
    await createFilmsPipeline(sql);
    await sql`update rowmill.settings set lease = '3 seconds', adopt_after = '4 seconds', fetch_after = '1 second', poll_every = '100 milliseconds'`;
    const worker = startWorker();
    await worker.logged('ready');

    const [rows, perStatement] = [50_000, 500];
    for (let from = 0; from < rows; from += perStatement) {
      if (from === rows / 2) {
        await waitFor('work is under way', async () => simulator.ledger.executed > 0);
        await database.crash();
        await worker.logged('is out of reach');
        expect(await status(worker, '/readyz')).toBe(503);
        await database.start();
      }
      // With keys of its own, since a commit whose answer is lost may have happened.
      await insist(
        () => sql`
          insert into films (id, title) overriding system value
          select n, 'Film ' || n from generate_series(${from + 1}::bigint, ${from + perStatement}::bigint) as n
          on conflict do nothing`,
      );
    }
    await settled(sql, 'films', 90_000);
    await worker.logged('the database is back');
    expect(worker.child.exitCode).toBeNull();
    const [counts] = await sql`
      select count(*)::integer as all, (count(*) filter (where summary like title || ':%'))::integer as right from films`;
    expect(counts).toEqual({ all: rows, right: rows });
    expect(simulator.ledger.summary()).toMatchObject({ executed: rows, repeatedPrompts: 0 });
    // Said once, however many jobs failed how often; once more where one fails while another finds it back.
    const said = worker.lines.filter(({ msg }) => msg.includes('every job is tried again'));
    expect([1, 2]).toContain(said.length);
  });

  it('a post that died with pg_net’s queue is posted again', async () => {
    await startAll();
    const { sql } = database;
    await sql.unsafe(pgNetStub);
    await sql`select rowmill.set_endpoint('http://127.0.0.1:1/v1/chunks', ${ingestSecret})`;
    await createFilmsPipeline(sql, { chunkSize: 100 });
    await sql`insert into films (title) select 'Film ' || n from generate_series(1, 100) as n`;
    const posts = async () => {
      const rows = await sql<{ chunk: number }[]>`
        select (convert_from(body, 'UTF8')::jsonb ->> 'chunk_id')::integer as chunk from net.http_request_queue`;
      return rows.map(({ chunk }) => chunk);
    };
    expect(await posts()).toEqual([1]);
    await database.crash();
    await database.start();
    // Unlogged, as pg_net's own: a crash empties it.
    expect(await insist(posts)).toEqual([]);
    await sql`update rowmill.chunks set posted_at = posted_at - interval '2 minutes'`;
    await sql`select rowmill.tick()`;
    expect(await posts()).toEqual([1]);
  });

  it('an intent survives a crash on a server that answers commits before they are on disk', async () => {
    await startAll({ synchronous_commit: 'off', wal_writer_delay: '10s' });
    const { sql } = database;
    await createFilmsPipeline(sql);
    await sql`insert into films (title) values ('Film 1')`;
    await sql`select rowmill.flush('films')`;
    await sql`select * from rowmill.claim_chunk(1, 'films', 'w/1')`;
    await sql`select rowmill.begin_batch('w/1', 'a key', array[1]::bigint[], 1, 1, 1, 1, null)`;
    await sql`insert into films (title) values ('Film 2')`;
    await database.crash();
    await database.start();
    const batches = await insist(() => sql`select key from rowmill.batch_processing_details`);
    expect(batches).toEqual([{ key: 'a key' }]);
    // What nothing outside follows is lost on such a server, as its owner chose.
    expect(await sql`select title from films`).toEqual([{ title: 'Film 1' }]);
  });
});
