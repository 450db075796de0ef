import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type postgres from 'postgres';
import { expect } from 'vitest';
import type { CrashPoint } from '../../src/crash-points.ts';
import { createFaults } from '../../src/simulator/create-faults.ts';
import { parseFault } from '../../src/simulator/fault-rules.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { createDatabase } from '../support/database.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { ingestSecret, settled, startWorker, waitFor } from '../support/service.ts';

export const rowCount = 2500;

export type CrashWorldOptions = { faults?: string[] };

export type CrashWorld = {
  sql: postgres.Sql;
  simulator: Simulator;
  /** Starts a worker that dies at the n-th time it comes to the point; resolves when it has. */
  crashAt(point: CrashPoint, nth: number): Promise<void>;
  /** Starts a worker that does not, and waits until nothing is left to do, here and at the provider. */
  recover(): Promise<void>;
  stop(): Promise<void>;
};

/** A database and a provider where time runs fast, and films in two full chunks and a partial one. */
export async function startCrashWorld(options: CrashWorldOptions = {}): Promise<CrashWorld> {
  const database = await createDatabase();
  const { sql } = database;
  await sql`
    update rowmill.settings
    set lease = '1 second', adopt_after = '1500 milliseconds', fetch_after = '200 milliseconds', poll_every = '100 milliseconds',
      retry_after = '200 milliseconds'`;
  await createFilmsPipeline(sql, { chunkSize: 1200, flushAfter: '0 seconds' });
  await sql.unsafe(
    `insert into films (title, description) select 'Film ' || n, 'Number ' || n || ' of them' from generate_series(1, ${rowCount}) as n`,
  );
  const simulator = await startSimulator({ faults: createFaults((options.faults ?? []).map(parseFault)) });
  const children: ChildProcess[] = [];
  const closing: (() => Promise<void>)[] = [];

  return {
    sql,
    simulator,
    async crashAt(point, nth) {
      const script = path.join(import.meta.dirname, 'crashing-worker.ts');
      const child = spawn(process.execPath, [script, point, String(nth)], {
        env: {
          PATH: process.env.PATH,
          DATABASE_URL: database.url,
          OPENAI_API_KEY: 'test',
          OPENAI_BASE_URL: simulator.url,
          PORT: '0',
          ROWMILL_INGEST_SECRET: ingestSecret,
          ROWMILL_TICK_CRON: '* * * * * *',
          ROWMILL_POLL_CRON: '* * * * * *',
        },
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      children.push(child);
      const exit = once(child, 'exit');
      const timer = setTimeout(() => child.kill('SIGTERM'), 60_000);
      const [code, signal] = await exit;
      clearTimeout(timer);
      expect({ point, code, signal }, 'the worker came to the point').toEqual({
        point,
        code: null,
        signal: 'SIGKILL',
      });
    },
    async recover() {
      const service = await startWorker(database.url, simulator.url);
      closing.push(() => service.stop());
      await settled(sql, 'films');
      await waitFor('nothing is left to look for at the provider', async () => {
        const open = await sql`
          select from rowmill.batch_processing_details
          where state in ('preparing', 'running', 'ended', 'harvested') or sweep_at is not null`;
        return open.length === 0;
      });
    },
    async stop() {
      for (const close of closing) await close();
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      await simulator.close();
      await database.drop();
    },
  };
}
