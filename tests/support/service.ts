import pino from 'pino';
import type postgres from 'postgres';
import { readConfig } from '../../src/config.ts';
import { type Service, startService } from '../../src/service.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { startPostgrest } from './postgrest.ts';

export const ingestSecret = `whsec_${Buffer.from('a secret of thirty-two bytes ....').toString('base64')}`;

/** TEST_TRANSPORT=http: workers have no address of the database, and come through a Data API. */
export const isOverHttp = process.env.TEST_TRANSPORT === 'http';

export type World = {
  databaseUrl: string;
  sql: postgres.Sql;
  simulator: Simulator;
  service: Service;
  /** Ends all of it. */
  stop(): Promise<void>;
};

/** A worker that looks every second, over a simulator and a database of the test's own, or over the one that is given. */
export async function startWorld(
  options: { simulator?: SimulatorOptions; env?: Record<string, string>; database?: TestDatabase } = {},
): Promise<World> {
  const database = options.database ?? (await createDatabase());
  const { sql } = database;
  await sql`
    update rowmill.settings
    set poll_every = '100 milliseconds', fetch_after = '1 second', repost_after = '1 second'`;
  const simulator = await startSimulator(options.simulator);
  const service = await startWorker(database.url, simulator.url, options.env);
  return {
    databaseUrl: database.url,
    sql,
    simulator,
    service,
    async stop() {
      await service.stop();
      await simulator.close();
      await database.drop();
    },
  };
}

/** One more worker over the same database and provider; `role`: as whom it comes through a Data API. */
export async function startWorker(
  databaseUrl: string,
  simulatorUrl: string,
  env: Record<string, string> = {},
  role = 'service_role',
): Promise<Service> {
  const access = await openAccess(databaseUrl, role);
  const config = readConfig({
    ...access.env,
    OPENAI_API_KEY: 'test',
    OPENAI_BASE_URL: simulatorUrl,
    PORT: '0',
    // For a database in a container, which TEST_WORKER_HOST says how to find this machine.
    ...(process.env.TEST_WORKER_HOST ? { HOST: '0.0.0.0' } : {}),
    ROWMILL_INGEST_SECRET: ingestSecret,
    ROWMILL_TICK_CRON: '* * * * * *',
    ROWMILL_POLL_CRON: '* * * * * *',
    ...env,
  });
  const logger = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent', base: null });
  const service = await startService(config, logger);
  await service.ready;
  return {
    ...service,
    async stop(timeoutMs) {
      await service.stop(timeoutMs);
      await access.close();
    },
  };
}

/** What a worker's environment says of a database, and what has to be closed after it. */
export async function openAccess(
  databaseUrl: string,
  role = 'service_role',
): Promise<{ env: Record<string, string>; close(): Promise<void> }> {
  if (!isOverHttp) return { env: { DATABASE_URL: databaseUrl }, close: async () => {} };
  const api = await startPostgrest({ databaseUrl });
  return {
    env: { SUPABASE_URL: api.url, SUPABASE_SERVICE_ROLE_KEY: api.keyFor(role) },
    close: () => api.close(),
  };
}

/** Where the database finds a worker of the tests: what set_endpoint() is given where posts are to arrive. */
export function urlForDatabase(service: Service): string {
  const url = new URL(service.url);
  url.hostname = process.env.TEST_WORKER_HOST ?? url.hostname;
  return url.origin;
}

/** Resolves with the first truthy value; rejects, naming the last one, after `timeoutMs`. */
export async function waitFor<Value>(
  what: string,
  look: () => Promise<Value>,
  timeoutMs = 90_000,
): Promise<Exclude<Value, false | null | undefined | 0>> {
  const deadline = Date.now() + timeoutMs;
  let last: Value;
  do {
    last = await look();
    if (last) return last as Exclude<Value, false | null | undefined | 0>;
    await new Promise((resolve) => setTimeout(resolve, 50));
  } while (Date.now() < deadline);
  throw new Error(`waited ${timeoutMs} ms in vain for: ${what}; last: ${JSON.stringify(last)}`);
}

/** Resolves once a pipeline has no row pending, waiting or in flight. */
export async function settled(sql: postgres.Sql, pipeline: string, timeoutMs?: number): Promise<void> {
  await waitFor(
    `${pipeline} is settled`,
    async () => {
      const [status] = await sql`
        select pending + waiting + in_flight + open_batches as open, problem
        from rowmill.pipeline_status where name = ${pipeline}`;
      return Number(status?.open) === 0;
    },
    timeoutMs,
  );
}
