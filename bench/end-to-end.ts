import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type postgres from 'postgres';
import { median, type Row } from './measure.ts';
import { insertStatements } from './rows.ts';
import { createTables } from './tables.ts';

const root = path.join(import.meta.dirname, '..');
const timeoutMs = 300_000;

type Run = { rowsPerSecond: number; peakMegabytes: number };

/**
 * Rows from the first insert to the last answer, with the simulator at zero delay and the worker each in a
 * process of its own.
 */
export async function benchEndToEnd(sql: postgres.Sql, databaseUrl: string, runs: number): Promise<Row[]> {
  const small: Run[] = [];
  const large: Run[] = [];
  for (let run = 0; run < runs; run += 1) {
    small.push(await endToEnd(sql, databaseUrl, 10_000));
    large.push(await endToEnd(sql, databaseUrl, 100_000));
  }
  // The goals are for the large run; the small one shows how both grow.
  return [
    ...rowsOf('10,000 rows', small, null),
    ...rowsOf('100,000 rows', large, { rowsPerSecond: 5000, peakMegabytes: 300 }),
  ];
}

function rowsOf(what: string, runs: Run[], goal: Run | null): Row[] {
  const speeds = runs.map((run) => run.rowsPerSecond);
  const peaks = runs.map((run) => run.peakMegabytes);
  const spread = (values: number[]) => `${Math.min(...values).toFixed(0)}–${Math.max(...values).toFixed(0)}`;
  return [
    {
      what: `end to end, ${what}: rows a second`,
      value: median(speeds).toFixed(0),
      goal: goal ? `≥ ${goal.rowsPerSecond}` : '',
      spread: spread(speeds),
      verdict: goal ? (median(speeds) >= goal.rowsPerSecond ? 'met' : 'missed') : '',
    },
    {
      what: `end to end, ${what}: peak memory of the worker, MB`,
      value: median(peaks).toFixed(0),
      goal: goal ? `≤ ${goal.peakMegabytes}` : '',
      spread: spread(peaks),
      verdict: goal ? (median(peaks) <= goal.peakMegabytes ? 'met' : 'missed') : '',
    },
  ];
}

async function endToEnd(sql: postgres.Sql, databaseUrl: string, count: number): Promise<Run> {
  const tables = await createTables(sql);
  await tables.empty(tables.piped);
  await sql`update rowmill.settings set poll_every = '200 milliseconds'`;
  await sql`update rowmill.pipelines set flush_after = '1 second' where name = 'bench'`;
  const statements = insertStatements(tables.piped, count, 175);

  const simulator = fork(path.join(root, 'src/simulator/main.ts'), ['--port', '0'], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [{ url: simulatorUrl }] = (await once(simulator, 'message')) as [{ url: string }];
  // As `npm start` has it.
  const worker = spawn(process.execPath, ['--optimize-for-size', path.join(root, 'src/server.ts')], {
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: databaseUrl,
      OPENAI_API_KEY: 'bench',
      OPENAI_BASE_URL: simulatorUrl,
      PORT: '0',
      LOG_LEVEL: 'warn',
      ROWMILL_TICK_CRON: '* * * * * *',
      ROWMILL_POLL_CRON: '* * * * * *',
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  try {
    await until(
      async () =>
        (await sql`select from rowmill.workers where seen_at > now() - interval '5 seconds'`).length > 0,
    );
    const start = performance.now();
    for (const statement of statements) await sql.unsafe(statement);
    await until(async () => {
      const [status] = await sql<
        { enriched: string }[]
      >`select enriched from rowmill.pipeline_status where name = 'bench'`;
      return Number(status?.enriched) >= count;
    });
    const seconds = (performance.now() - start) / 1000;
    const [{ empty } = { empty: -1 }] = await sql<{ empty: number }[]>`
      select count(*)::integer as empty from piped where summary is null or categories is null`;
    if (empty !== 0) throw new Error(`${empty} rows are not enriched`);
    return { rowsPerSecond: count / seconds, peakMegabytes: await peakMemory(worker) };
  } finally {
    // In this order: the worker deletes its files at the simulator before it leaves.
    await end(worker);
    await end(simulator);
  }
}

async function until(look: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await look())) {
    if (performance.now() > deadline) throw new Error(`not done within ${timeoutMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The kernel's high-water mark of resident memory, in MB of 10^6 bytes; NaN where there is no /proc. */
async function peakMemory(child: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
  return (Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) * 1024) / 1e6;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}
