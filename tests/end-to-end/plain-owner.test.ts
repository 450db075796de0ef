import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';
import type { Service } from '../../src/service.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { databaseUrl } from '../support/database.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { isOverHttp, settled, startWorker } from '../support/service.ts';

// A Data API has roles of its own, which such a server does not.
describe.skipIf(isOverHttp)('on a plain server', () => {
  // A server of the test's own: on the run's, somebody has made rowmill_worker already.
  let directory: string;
  let server: EmbeddedPostgres;
  let simulator: Simulator;
  let worker: Service;
  let sql: postgres.Sql;
  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'rowmill-plain-'));
    // Run by root, Postgres is another user, who has to pass through here.
    await chmod(directory, 0o711);
    server = await startEmbeddedPostgres({
      directory,
      settings: { fsync: 'off', log_min_messages: 'notice' },
    });
    const admin = postgres(server.url, { max: 1 });
    await admin`create role shopkeeper login password 'shopkeeper'`;
    await admin`create database shop owner shopkeeper`;
    await admin.end();
    const url = new URL(databaseUrl(server.url, 'shop'));
    url.username = 'shopkeeper';
    url.password = 'shopkeeper';
    simulator = await startSimulator();
    worker = await startWorker(url.href, simulator.url);
    sql = postgres(url.href, { onnotice: () => {} });
  });
  afterAll(async () => {
    await sql?.end();
    await worker?.stop();
    await simulator?.close();
    await server?.stop();
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  });

  it('an owner who may make no roles does without the worker’s, and is told so', async () => {
    const [row] = await sql`
    select r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolbypassrls as is_more, to_regrole('rowmill_worker') as worker
    from pg_roles as r where r.rolname = current_user`;
    expect(row).toEqual({ is_more: false, worker: null });
    expect(await readFile(server.log, 'utf8')).toContain('this role may not create rowmill_worker');
  });

  it('rows of such an owner’s tables come home', async () => {
    await sql`update rowmill.settings set poll_every = '100 milliseconds'`;
    await createFilmsPipeline(sql, { flushAfter: '0 seconds' });
    await sql`insert into films (title) select 'Film ' || n from generate_series(1, 300) as n`;
    await settled(sql, 'films');
    expect(await sql`select from films where summary like title || ':%'`).toHaveLength(300);
    await sql`update films set title = 'Edited' where id = 1`;
    await settled(sql, 'films');
    expect(await sql`select from films where id = 1 and summary like 'Edited:%'`).toHaveLength(1);
    expect(simulator.ledger.executed).toBe(301);
  });
});
