import pino from 'pino';
import type postgres from 'postgres';
import type { Deps } from '../../src/deps.ts';
import type { RunOptions } from '../../src/jobs/job.ts';
import * as poll from '../../src/jobs/poll.ts';
import * as submit from '../../src/jobs/submit.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createOpenAiProvider } from '../../src/provider/openai.ts';
import type { Provider } from '../../src/provider/provider.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts';
import { createPostgresTransport } from '../../src/store/postgres-transport.ts';
import { createStore, type Lease, type Store } from '../../src/store/store.ts';
import { createSubmission, type Submission } from '../../src/submission/submission.ts';
import { createDatabase } from '../support/database.ts';
import { answerLine, FakeProvider, jsonl } from '../support/fake-provider.ts';
import { createFilms, createPipeline, insertFilms, type PipelineOptions } from '../support/sql-factories.ts';

export type Worker = Deps & {
  submission: Submission;
  /** Put calls here to have its leases make them instead of their own. */
  leased: Partial<Lease>;
};

export type JobWorld = {
  sql: postgres.Sql;
  url: string;
  fake: FakeProvider;
  /** Set where the world was made with one; then it, and not the fake, is the provider. */
  simulator: Simulator | null;
  worker: Worker;
  /** One more worker, with an id and connections of its own. */
  another(
    name: string,
    overrides?: {
      store?: Partial<Store>;
      leased?: Partial<Lease>;
      maxFileBytes?: number;
      signal?: AbortSignal;
    },
  ): Worker;
  stop(): Promise<void>;
};

/** A database with the pipeline `films`, a provider, and a worker whose jobs run when the test says so. */
export async function startJobWorld(
  options: { simulator?: SimulatorOptions; pipeline?: PipelineOptions } = {},
): Promise<JobWorld> {
  const database = await createDatabase();
  const { sql, url } = database;
  await sql`update rowmill.settings set poll_every = '0 seconds'`;
  await createFilms(sql);
  await createPipeline(sql, options.pipeline);
  const fake = new FakeProvider();
  const simulator = options.simulator ? await startSimulator(options.simulator) : null;
  const provider: Provider = simulator
    ? createOpenAiProvider({ apiKey: 'test', baseURL: simulator.url })
    : fake;
  const stores: Store[] = [];
  const another: JobWorld['another'] = (name, overrides = {}) => {
    const own = createStore(createPostgresTransport({ url, maxConnections: 4 }), name, 'test');
    stores.push(own);
    const leased: Partial<Lease> = { ...overrides.leased };
    const takeLease = async () => {
      const lease = await own.takeLease();
      // A test may replace a call and still reach the one that it stands in for.
      return Object.assign(Object.create(lease) as Lease, leased);
    };
    const store = { ...own, takeLease, ...overrides.store };
    const deps: Deps = { store, provider, logger: pino({ level: 'silent' }), metrics: createMetrics() };
    // One at a time, so that the first chunk is the first batch, here and at the provider.
    const limits = { concurrency: 1, maxBytes: 48_000_000 };
    const submission = createSubmission(deps, overrides.signal ?? new AbortController().signal, () => {}, {
      ...limits,
      ...(overrides.maxFileBytes === undefined ? {} : { file: { bytes: overrides.maxFileBytes } }),
    });
    return { ...deps, submission, leased };
  };
  return {
    ...{ sql, url, fake, simulator, another },
    worker: another('w1'),
    async stop() {
      await Promise.all(stores.map((store) => store.close(1000)));
      await simulator?.close();
      await database.drop();
    },
  };
}

type LeasedCall = Exclude<keyof Lease, 'hold'>;

/** Has a worker's leases make a call as the test says; `original` is the one that it stands in for. */
export function replaceCall<Name extends LeasedCall>(
  worker: Worker,
  name: Name,
  call: (original: Lease[Name], ...args: Parameters<Lease[Name]>) => ReturnType<Lease[Name]>,
): void {
  function replacement(this: Lease, ...args: Parameters<Lease[Name]>) {
    return call((Object.getPrototypeOf(this) as Lease)[name], ...args);
  }
  Object.assign(worker.leased, { [name]: replacement });
}

export function options(overrides: Partial<RunOptions> = {}): RunOptions {
  return { limit: 10, signal: new AbortController().signal, ...overrides };
}

export function aborted(): RunOptions {
  return options({ signal: AbortSignal.abort(new Error('the service stops')) });
}

/** Films from `from` to `to`, in chunks that nobody has. */
export async function queue(world: JobWorld, from: number, to: number): Promise<void> {
  await insertFilms(world.sql, from, to);
  await world.sql`select rowmill.flush('films')`;
}

/** The same, in a batch that runs at the provider; returns the requests' ids. */
export async function submitted(world: JobWorld, from: number, to: number): Promise<string[]> {
  await queue(world, from, to);
  await submit.runOnce(world.worker, options());
  return world.fake.customIds();
}

/** Ends the running batch as `FakeProvider.end` does, and has it polled. */
export async function ended(world: JobWorld, ...how: Parameters<FakeProvider['end']>): Promise<void> {
  world.fake.end(...how);
  await poll.runOnce(world.worker, options());
}

export function answers(customIds: string[], summary = 'a summary'): string {
  return jsonl(customIds.map((id) => answerLine(id, summary)));
}

/** Whatever waits for its time has waited long enough: leases, polls, fetches, retries, and a provider that took no batch. */
export async function passTime(world: JobWorld, time = '1 hour'): Promise<void> {
  const { sql } = world;
  await sql`update rowmill.chunks set lease_until = lease_until - ${time}::text::interval, posted_at = posted_at - ${time}::text::interval`;
  await sql`
    update rowmill.batch_processing_details
    set lease_until = lease_until - ${time}::text::interval, poll_at = poll_at - ${time}::text::interval`;
  await sql`update rowmill.pending_keys set queued_at = queued_at - ${time}::text::interval`;
  await sql`update rowmill.pipelines set wait_until = wait_until - ${time}::text::interval`;
  await sql`update rowmill.model_states set blocked_until = blocked_until - ${time}::text::interval`;
}

export async function age(world: JobWorld, time: string): Promise<void> {
  await world.sql`
    update rowmill.batch_processing_details
    set created_at = created_at - ${time}::text::interval, uploaded_at = uploaded_at - ${time}::text::interval`;
}

export async function batches(world: JobWorld) {
  return await world.sql`select * from rowmill.batch_processing_details order by id`;
}

export async function batchStates(world: JobWorld): Promise<string[]> {
  return (await batches(world)).map((batch) => batch.state);
}

export async function chunkStates(world: JobWorld): Promise<string[]> {
  const rows = await world.sql`select state from rowmill.chunks order by id`;
  return rows.map((row) => row.state);
}

export async function status(world: JobWorld) {
  const [row] = await world.sql`select * from rowmill.pipeline_status where name = 'films'`;
  return row!;
}

export async function failures(world: JobWorld) {
  return await world.sql`select key, error_class, code, attempts, is_final from rowmill.failures order by key`;
}

export async function summaries(world: JobWorld): Promise<(string | null)[]> {
  const rows = await world.sql`select summary from films order by id`;
  return rows.map((row) => row.summary);
}
