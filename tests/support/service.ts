import pino from 'pino';
import type postgres from 'postgres';
import { readConfig } from '../../src/config.ts';
import { type Service, startService } from '../../src/service.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts';
import { createDatabase } from './database.ts';

export const ingestSecret = `whsec_${Buffer.from('a secret of thirty-two bytes ....').toString('base64')}`;

export type World = {
  databaseUrl: string;
  sql: postgres.Sql;
  simulator: Simulator;
  service: Service;
  /** Ends all of it. */
  stop(): Promise<void>;
};

/** A worker that looks every second, over a database and a simulator of the test's own. */
export async function startWorld(
  options: { simulator?: SimulatorOptions; env?: Record<string, string> } = {},
): Promise<World> {
  const database = await createDatabase();
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

/** One more worker over the same database and provider. */
export async function startWorker(
  databaseUrl: string,
  simulatorUrl: string,
  env: Record<string, string> = {},
): Promise<Service> {
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    OPENAI_API_KEY: 'test',
    OPENAI_BASE_URL: simulatorUrl,
    PORT: '0',
    ROWMILL_INGEST_SECRET: ingestSecret,
    ROWMILL_TICK_CRON: '* * * * * *',
    ROWMILL_POLL_CRON: '* * * * * *',
    ...env,
  });
  const logger = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent', base: null });
  const service = await startService(config, logger);
  await service.ready;
  return service;
}

/** Resolves with the first truthy value; rejects, naming the last one, after `timeoutMs`. */
export async function waitFor<Value>(
  what: string,
  look: () => Promise<Value>,
  timeoutMs = 45_000,
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
