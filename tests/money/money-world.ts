import { setTimeout as pause } from 'node:timers/promises';
import pino from 'pino';
import type postgres from 'postgres';
import type { Deps } from '../../src/deps.ts';
import * as harvest from '../../src/jobs/harvest.ts';
import * as poll from '../../src/jobs/poll.ts';
import * as recover from '../../src/jobs/recover.ts';
import * as submit from '../../src/jobs/submit.ts';
import * as tick from '../../src/jobs/tick.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createOpenAiProvider } from '../../src/provider/openai.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts';
import { createPostgresTransport } from '../../src/store/postgres-transport.ts';
import { createStore } from '../../src/store/store.ts';
import { createSubmission, type Submission } from '../../src/submission/submission.ts';
import { createDatabase } from '../support/database.ts';

export type MoneyWorker = Deps & { submission: Submission };

export type MoneyWorld = {
  sql: postgres.Sql;
  url: string;
  simulator: Simulator;
  workers: MoneyWorker[];
  /** What the workers logged as errors. */
  errors: string[];
  stop(): Promise<void>;
};

/** A database, a simulator, and workers whose jobs run when the test says so; each has an id and connections of its own. */
export async function startMoneyWorld(options: {
  workers: number;
  simulator?: SimulatorOptions;
}): Promise<MoneyWorld> {
  const { url, sql, drop } = await createDatabase();
  await sql`update rowmill.settings set poll_every = '0 seconds', fetch_after = '10 milliseconds'`;
  const simulator = await startSimulator(options.simulator);
  const provider = createOpenAiProvider({ apiKey: 'test', baseURL: simulator.url });
  const errors: string[] = [];
  const logger = pino({ level: 'error' }, { write: (line: string) => errors.push(line) });
  const workers = Array.from({ length: options.workers }, (_, at): MoneyWorker => {
    const store = createStore(createPostgresTransport({ url, maxConnections: 3 }), `w${at + 1}`, 'test');
    const deps: Deps = { store, provider, logger, metrics: createMetrics() };
    return { ...deps, submission: createSubmission(deps, new AbortController().signal, () => {}) };
  });
  return {
    ...{ sql, url, simulator, workers, errors },
    async stop() {
      await Promise.all(workers.map(({ store }) => store.close(1000)));
      await simulator.close();
      await drop();
    },
  };
}

const jobs = [
  (worker: MoneyWorker) => tick.runOnce(worker, runOptions()),
  // One batch at a time, so that the workers share them.
  (worker: MoneyWorker) => submit.runOnce(worker, { ...runOptions(), limit: 1 }),
  (worker: MoneyWorker) => recover.runOnce(worker, runOptions()),
  (worker: MoneyWorker) => poll.runOnce(worker, { ...runOptions(), limit: 1000 }),
  (worker: MoneyWorker) => harvest.runOnce(worker, runOptions()),
];

function runOptions() {
  return { limit: 4, signal: new AbortController().signal };
}

/**
 * All workers run their jobs, each in an order and after delays of its own, until `isOver`, which is asked in between.
 * Rejects with the last look where it never is.
 */
export async function race(
  world: MoneyWorld,
  random: () => number,
  isOver: () => Promise<boolean>,
  options: { patienceMs?: number; delayMs?: number } = {},
): Promise<void> {
  const { patienceMs = 40_000, delayMs = 6 } = options;
  const deadline = performance.now() + patienceMs;
  let over = false;
  const work = async (worker: MoneyWorker) => {
    while (!over) {
      // One order in two is the way of a row; the others are any.
      const order = random() < 0.5 ? jobs : jobs.toSorted(() => random() - 0.5);
      for (const job of order) {
        if (random() < 0.5) await pause(random() * delayMs);
        if (over) return;
        await job(worker);
      }
    }
  };
  const watch = async () => {
    try {
      while (!(await isOver())) {
        if (performance.now() > deadline) throw new Error(await describe(world, patienceMs));
        await pause(5);
      }
    } finally {
      over = true;
    }
  };
  await Promise.all([watch(), ...world.workers.map(work)]);
}

async function describe({ sql, errors }: MoneyWorld, patienceMs: number): Promise<string> {
  const pipelines = await sql`
    select name, state, problem, pending, waiting, in_flight, enriched, failed, open_batches, reserved_usd, spent_usd, waiting_reason
    from rowmill.pipeline_status`;
  const chunks = await sql`
    select id, state, row_count, requests, waits_for, wait_reason from rowmill.chunks where state <> 'done'`;
  return `the race was not over after ${patienceMs} ms: ${JSON.stringify({ pipelines, chunks, errors }, null, 1)}`;
}

/** mulberry32: the same numbers in [0, 1) for the same seed. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `work`, and what was seen while it went on. */
export async function observed(
  sql: postgres.Sql,
  pipelineId: number | null,
  work: () => Promise<void>,
  day: string | null = null,
): Promise<Moment[]> {
  const observer = observe(sql, pipelineId, day);
  try {
    await work();
  } finally {
    await observer.end();
  }
  return observer.moments;
}

export type Moment = { money: number; batches: number };

/**
 * Reads, again and again on a connection of its own, what is reserved and spent: as the budgets see it, and summed over
 * the batches, both in one snapshot.
 */
function observe(sql: postgres.Sql, pipelineId: number | null, day: string | null) {
  let over = false;
  const moments: Moment[] = [];
  const watching = (async () => {
    const connection = await sql.reserve();
    try {
      while (!over) {
        const [row] = await connection`
          select (m.reserved_usd + m.spent_usd)::float8 as money, coalesce(b.usd, 0)::float8 as batches
          from rowmill.money_of(${pipelineId}, ${day}::text::date) as m
          cross join (
            select sum(coalesce(d.reserved_usd, 0) + coalesce(d.spent_usd, 0)) as usd
            from rowmill.batch_processing_details as d
            where (${pipelineId}::bigint is null or d.pipeline_id = ${pipelineId}::bigint)
            and (${day}::text::date is null or d.reserved_on = ${day}::text::date)
          ) as b`;
        moments.push(row as unknown as Moment);
      }
    } finally {
      connection.release();
    }
  })();
  return {
    moments,
    async end(): Promise<void> {
      over = true;
      await watching;
    },
  };
}
