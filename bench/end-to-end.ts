import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type postgres from 'postgres';
import { median, type Row } from './measure.ts';
import { end, everySecond, peakMemory, root, startWorker, until } from './processes.ts';
import { insertStatements } from './rows.ts';
import { createTables } from './tables.ts';

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

/** What the same import takes with one worker and with four; they take turns, since a slow minute hits both. */
export async function benchWorkers(sql: postgres.Sql, databaseUrl: string, runs: number): Promise<Row[]> {
  const one: number[] = [];
  const four: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    one.push((await endToEnd(sql, databaseUrl, 100_000)).rowsPerSecond);
    four.push((await endToEnd(sql, databaseUrl, 100_000, 4)).rowsPerSecond);
  }
  const ratio = median(four) / median(one);
  const ratios = four.map((speed, at) => speed / one[at]!);
  return [
    {
      what: 'end to end, 100,000 rows: four workers against one, rows a second',
      value: ratio.toFixed(2),
      goal: '≥ 1',
      spread: `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`,
      verdict: ratio >= 1 ? 'met' : 'missed',
    },
  ];
}

async function endToEnd(
  sql: postgres.Sql,
  databaseUrl: string,
  count: number,
  workerCount = 1,
): Promise<Run> {
  const tables = await createTables(sql);
  await tables.empty(tables.piped);
  await sql`update rowmill.settings set poll_every = '200 milliseconds'`;
  await sql`update rowmill.pipelines set flush_after = '1 second' where name = 'bench'`;
  const statements = insertStatements(tables.piped, count, 175);

  const simulator = fork(path.join(root, 'src/simulator/main.ts'), ['--port', '0'], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [{ url: simulatorUrl }] = (await once(simulator, 'message')) as [{ url: string }];
  const before = new Date();
  const workers = Array.from({ length: workerCount }, () =>
    startWorker({ ...everySecond, DATABASE_URL: databaseUrl, OPENAI_BASE_URL: simulatorUrl }),
  );
  try {
    await until(async () => {
      const up = await sql`select from rowmill.workers where started_at >= ${before}`;
      return up.length === workerCount;
    });
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
    const peaks = await Promise.all(workers.map(peakMemory));
    return { rowsPerSecond: count / seconds, peakMegabytes: Math.max(...peaks) };
  } finally {
    // In this order: a worker deletes its files at the simulator before it leaves.
    await Promise.all(workers.map(end));
    await end(simulator);
  }
}
