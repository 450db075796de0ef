import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import postgres from 'postgres';
import { RowmillError } from '../../src/errors.ts';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { migrate } from '../../src/store/migrate.ts';
import { startDatabase } from '../database.ts';
import type { Endings } from '../endings.ts';
import { ingestSecret, webhookSecret } from './sign.ts';

const root = path.join(import.meta.dirname, '../..');

/** A worker in a process of its own, over a Postgres and a simulator. */
export type Subject = {
  port: number;
  /** How it ended, though nobody asked it to; null while it runs. */
  exit(): string | null;
  /** The most memory that it has had since it started, in MB. */
  peakMemory(): number;
  /** Lines of its log that tell of an error. */
  errors: string[];
  /** Ids of chunks that wait for their posts. */
  chunks: number[];
};

/**
 * Starts all of it, with so many chunks of one row; what ends it is added to the endings. Takes the address of a database
 * that Rowmill is migrated into, null for a Postgres of its own.
 */
export async function startSubject(
  chunkCount: number,
  databaseUrl: string | null,
  endings: Endings,
): Promise<Subject> {
  const url = databaseUrl ?? (await startOwnDatabase(endings));
  const chunks = await formChunks(url, chunkCount);
  const simulator = await startSimulator();
  endings.add(() => simulator.close());
  return { ...(await startWorker(url, simulator.url, endings)), chunks };
}

async function startOwnDatabase(endings: Endings): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'rowmill-fuzz-'));
  endings.add(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  // Run by root, Postgres is another user, who has to pass through here.
  await chmod(directory, 0o711);
  const database = await startDatabase(directory);
  endings.add(() => database.stop());
  await migrate({ url: database.url });
  return database.url;
}

async function formChunks(url: string, count: number): Promise<number[]> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await sql.unsafe(`create table films (id bigint generated always as identity primary key, title text, summary text);
      select rowmill.create_pipeline(name => 'films', source => 'films', instructions => 'Summarize.', prompt => '{{title}}',
        outputs => array['summary'], model => 'gpt-4o-mini', chunk_size => 1);
      insert into films (title) select 'Film ' || n from generate_series(1, ${count}) as n;
      select rowmill.flush('films')`);
    const rows = await sql<{ id: number }[]>`select id::integer from rowmill.chunks order by id`;
    return rows.map((row) => row.id);
  } finally {
    await sql.end();
  }
}

async function startWorker(databaseUrl: string, providerUrl: string, endings: Endings) {
  const never = '0 0 1 1 *';
  const child = spawn(process.execPath, ['--optimize-for-size', 'src/server.ts'], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: databaseUrl,
      OPENAI_API_KEY: 'fuzz',
      OPENAI_BASE_URL: providerUrl,
      OPENAI_WEBHOOK_SECRET: webhookSecret,
      ROWMILL_INGEST_SECRET: ingestSecret,
      PORT: '0',
      LOG_LEVEL: 'info',
      // Chunks are to come by their posts alone.
      ROWMILL_TICK_CRON: never,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'close');
  const errors: string[] = [];
  let exit: string | null = null;
  child.once('exit', (code, signal) => {
    exit = signal ?? `exit code ${code}`;
  });
  child.stderr.on('data', (data) => errors.push(String(data)));
  endings.add(async () => {
    child.kill('SIGTERM');
    const patience = setTimeout(() => child.kill('SIGKILL'), 12_000);
    await exited;
    clearTimeout(patience);
  });
  const port = await new Promise<number>((resolve, reject) => {
    let url: string | undefined;
    child.once('exit', () => reject(new RowmillError('worker_left', `the worker left: ${errors.join('')}`)));
    createInterface({ input: child.stdout }).on('line', (text) => {
      if (!text.startsWith('{')) return;
      const line = JSON.parse(text);
      if (line.level >= 50) errors.push(text);
      url ??= line.url;
      if (line.msg === 'ready') resolve(Number(new URL(url!).port));
    });
  });
  let last = 0;
  return {
    port,
    errors,
    exit: () => exit,
    peakMemory() {
      if (exit !== null) return last;
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      last = Math.round(Number(/^VmHWM:\s+(\d+) kB/m.exec(status)![1]) / 1024);
      return last;
    },
  };
}
