import { setTimeout as wait } from 'node:timers/promises';
import pino from 'pino';
import type postgres from 'postgres';
import * as poll from '../src/jobs/poll.ts';
import { createMetrics } from '../src/metrics.ts';
import { createOpenAiProvider } from '../src/provider/openai.ts';
import { createFaults } from '../src/simulator/create-faults.ts';
import { type Simulator, startSimulator } from '../src/simulator/simulator.ts';
import { createPostgresTransport } from '../src/store/postgres-transport.ts';
import { createStore } from '../src/store/store.ts';
import type { Row } from './measure.ts';
import { cpuSeconds, end, everySecond, startWorker, until } from './processes.ts';
import { createTables } from './tables.ts';

const batches = 2000;
const pageSize = 100;
const daySeconds = 86_400;
const watchedSeconds = 90;

/** What it costs to wait: 2,000 batches that run for a day, with every setting as it is out of the box. */
export async function benchIdle(sql: postgres.Sql, databaseUrl: string): Promise<Row[]> {
  const calls = { list: [] as number[], retrieve: 0 };
  const stuck = createFaults([{ fault: 'stuck_in_progress' }]);
  const simulator = await startSimulator({
    faults: {
      ...stuck,
      async beforeReply(request) {
        if (request.route === 'list') calls.list.push(performance.now());
        if (request.route === 'retrieve') calls.retrieve += 1;
        return await stuck.beforeReply?.(request);
      },
    },
  });
  try {
    await fillUp(sql, databaseUrl, simulator);
    const cpu = await watchWorker(databaseUrl, simulator, calls);
    const day = await simulateDay(sql, databaseUrl, simulator, calls);
    const pages = batches / pageSize;
    return [
      {
        what: `waiting for ${batches} batches: CPU of the worker, % of a core`,
        value: cpu.toFixed(2),
        goal: '< 2',
        spread: '1 run',
        verdict: cpu < 2 ? 'met' : 'missed',
      },
      {
        what: `waiting for ${batches} batches: API calls in a poll round, at most`,
        value: String(day.mostCalls),
        goal: `≤ ${pages}`,
        spread: `${day.rounds} rounds`,
        verdict: day.mostCalls <= pages ? 'met' : 'missed',
      },
      {
        what: `waiting for ${batches} batches: API calls in a simulated day`,
        value: String(day.calls),
        goal: '',
        spread: '1 run',
        verdict: '',
      },
    ];
  } finally {
    await simulator.close();
  }
}

async function fillUp(sql: postgres.Sql, databaseUrl: string, simulator: Simulator): Promise<void> {
  const tables = await createTables(sql);
  await tables.empty(tables.piped);
  await sql`update rowmill.settings set poll_every = default, batches_per_hour = ${batches * 10}`;
  await sql`update rowmill.pipelines set chunk_size = 1 where name = 'bench'`;
  const worker = startWorker({
    ...everySecond,
    DATABASE_URL: databaseUrl,
    OPENAI_BASE_URL: simulator.url,
  });
  // A few at a time: a hundred chunks that wait would be packed.
  const atOnce = 50;
  for (let from = 1; from <= batches; from += atOnce) {
    await sql`
      insert into piped (title)
      select 'Film ' || n from generate_series(${from}::integer, ${from + atOnce - 1}::integer) as n`;
    await until(async () => {
      const [row] = await sql<{ running: number }[]>`
        select count(*)::integer as running from rowmill.batch_processing_details where state = 'running'`;
      return row!.running === from + atOnce - 1;
    });
  }
  await end(worker);
}

/** A worker with nothing to do but to look, once its start is over. */
async function watchWorker(
  databaseUrl: string,
  simulator: Simulator,
  calls: { list: number[] },
): Promise<number> {
  const worker = startWorker({ DATABASE_URL: databaseUrl, OPENAI_BASE_URL: simulator.url });
  try {
    const before = calls.list.length;
    await until(async () => calls.list.length >= before + batches / pageSize);
    await wait(5000);
    const [startedAt, used] = [performance.now(), await cpuSeconds(worker)];
    await wait(watchedSeconds * 1000);
    const seconds = (performance.now() - startedAt) / 1000;
    return (((await cpuSeconds(worker)) - used) / seconds) * 100;
  } finally {
    await end(worker);
  }
}

/** The poll job at each moment of a day when a look is due; in between, the clock of the batches is put forward. */
async function simulateDay(
  sql: postgres.Sql,
  databaseUrl: string,
  simulator: Simulator,
  calls: { list: number[]; retrieve: number },
): Promise<{ rounds: number; calls: number; mostCalls: number }> {
  const store = createStore(createPostgresTransport({ url: databaseUrl }), 'bench', 'bench');
  const provider = createOpenAiProvider({ apiKey: 'bench', baseURL: simulator.url });
  const deps = { store, provider, logger: pino({ level: 'silent' }), metrics: createMetrics() };
  await sql`update rowmill.batch_processing_details set submitted_at = now(), poll_at = now() where state = 'running'`;
  const result = { rounds: 0, calls: 0, mostCalls: 0 };
  try {
    for (let second = 0; second < daySeconds; ) {
      const before = calls.list.length + calls.retrieve;
      const { signal } = new AbortController();
      await poll.runOnce(deps, { limit: 10_000, signal });
      const made = calls.list.length + calls.retrieve - before;
      result.rounds += 1;
      result.calls += made;
      result.mostCalls = Math.max(result.mostCalls, made);
      const [next] = await sql<{ seconds: number }[]>`
        select greatest(1, extract(epoch from min(poll_at) - now()))::float8 as seconds
        from rowmill.batch_processing_details where state = 'running'`;
      await sql`
        update rowmill.batch_processing_details
        set poll_at = poll_at - ${next!.seconds} * interval '1 second', submitted_at = submitted_at - ${next!.seconds} * interval '1 second'
        where state = 'running'`;
      second += next!.seconds;
    }
  } finally {
    await store.close(1000);
  }
  return result;
}
