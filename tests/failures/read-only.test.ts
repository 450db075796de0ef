import { setTimeout as delay } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { afterEach, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { ingestSecret, settled, waitFor } from '../support/service.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';
import { type OwnPostgres, startOwnPostgres } from './own-postgres.ts';

describe('with a database that is read-only, as Supabase has it when a disk is full', () => {
  let database: OwnPostgres;
  let simulator: Simulator;
  let worker: WorkerProcess | undefined;
  afterEach(async () => {
    await worker?.kill();
    await simulator.close();
    await database.stop();
  });

  const ask = async (route: string, init?: RequestInit) => {
    const url = await waitFor('it listens', async () => worker!.lines.find((line) => line.url)?.url);
    return await fetch(`${url}${route}`, init);
  };
  function postChunk() {
    const body = JSON.stringify({ chunk_id: 1, pipeline: 'films' });
    const at = new Date();
    const headers = {
      'content-type': 'application/json',
      'webhook-id': 'chunk_1',
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': new Webhook(ingestSecret).sign('chunk_1', at, body),
    };
    return ask('/v1/chunks', { method: 'POST', body, headers });
  }

  it('a worker says it once, is not ready, loses and fails nothing, and goes on when it is over', async () => {
    database = await startOwnPostgres();
    simulator = await startSimulator();
    const { sql } = database;
    const setReadOnly = async (value: 'on' | 'off') => {
      await sql.unsafe(`alter system set default_transaction_read_only = ${value}`);
      await sql`select pg_reload_conf()`;
    };
    await createFilmsPipeline(sql, { chunkSize: 100, flushAfter: '0 seconds' });
    await sql`update rowmill.settings set lease = '3 seconds', adopt_after = '4 seconds', fetch_after = '1 second', poll_every = '100 milliseconds'`;
    worker = startWorkerProcess({
      DATABASE_URL: database.url,
      OPENAI_BASE_URL: simulator.url,
      ROWMILL_INGEST_SECRET: ingestSecret,
    });
    await worker.logged('ready');
    await sql`insert into films (title) select 'Film ' || n from generate_series(1, 1000) as n`;
    await waitFor('work is under way', async () => simulator.ledger.executed > 0);
    await setReadOnly('on');
    await worker.logged('The database takes no writes');
    // Some runs of every job.
    await delay(2500);
    const ready = await ask('/readyz');
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({
      error: { code: 'database_read_only', message: expect.stringContaining('takes no writes') },
    });
    expect((await ask('/healthz')).status).toBe(200);
    const posted = await postChunk();
    expect(posted.status).toBe(503);
    expect(Number(posted.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(worker.lines.filter(({ level }) => level >= 50)).toEqual([]);
    expect(worker.lines.filter(({ msg }) => msg.includes('every job is tried again'))).toHaveLength(1);

    await setReadOnly('off');
    await worker.logged('the database takes writes again');
    await settled(sql, 'films');
    const [counts] = await sql`
      select
        count(*)::integer as all,
        (count(*) filter (where summary like title || ':%'))::integer as right,
        (select count(*)::integer from rowmill.row_failures) as failures,
        (select problem from rowmill.pipeline_status) as problem
      from films`;
    expect(counts).toEqual({ all: 1000, right: 1000, failures: 0, problem: null });
    expect(simulator.ledger.summary()).toMatchObject({ executed: 1000, repeatedPrompts: 0 });
    expect((await ask('/readyz')).status).toBe(200);
  });

  it('a worker whose migrations are missing waits for it, says so once, and starts', async () => {
    database = await startOwnPostgres();
    simulator = await startSimulator();
    await database.sql.unsafe('create database empty');
    await database.sql.unsafe('alter database empty set default_transaction_read_only = on');
    const url = new URL(database.url);
    url.pathname = '/empty';
    worker = startWorkerProcess({ DATABASE_URL: url.href, OPENAI_BASE_URL: simulator.url });
    const line = await worker.logged('The database takes no writes');
    expect(line.msg).toContain('npm run doctor');
    expect((await ask('/healthz')).status).toBe(200);
    expect((await ask('/readyz')).status).toBe(503);
    await delay(1500);
    expect(worker.lines.filter(({ msg }) => msg.includes('takes no writes'))).toHaveLength(1);
    await database.sql.unsafe('alter database empty reset default_transaction_read_only');
    await worker.logged('ready');
    // The session of an earlier probe is read-only until it is replaced.
    await waitFor('it is ready', async () => (await ask('/readyz')).status === 200);
  });
});
