import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { buildApp } from './app.ts';
import type { Config } from './config.ts';
import type { Reached } from './crash-points.ts';
import type { Deps } from './deps.ts';
import { RowmillError } from './errors.ts';
import { startJobs } from './jobs/index.ts';
import type { Schedule } from './jobs/schedule.ts';
import { createMetrics } from './metrics.ts';
import { loadTokenizer } from './pipeline/tokens.ts';
import { createOpenAiProvider } from './provider/openai.ts';
import type { Provider } from './provider/provider.ts';
import { migrate } from './store/migrate.ts';
import { createPostgresTransport } from './store/postgres-transport.ts';
import { createStore } from './store/store.ts';
import { whenReachable } from './store/when-reachable.ts';
import { createSubmission } from './submission/submission.ts';

const projectDirectory = path.join(import.meta.dirname, '..');
export const version: string = JSON.parse(
  readFileSync(path.join(projectDirectory, 'package.json'), 'utf8'),
).version;

export type Service = {
  /** Where it listens. */
  url: string;
  databaseUrl: string;
  /**
   * Resolves once the database is reached, migrated, and worked with: true, or false where the service was stopped
   * before. Rejects where waiting would not help: a wrong password, a migration that fails.
   */
  ready: Promise<boolean>;
  /** Runs the named job now, as if its time had come. */
  wake(job: 'tick' | 'submit' | 'poll' | 'harvest'): void;
  /** Finishes what is in hand, gives up after `timeoutMs`, and releases everything. Harmless to repeat. */
  stop(timeoutMs?: number): Promise<void>;
};

export type ServiceOptions = {
  /** Where an embedded database keeps its data. */
  directory?: string;
  /** For tests: called at each named moment between two effects. */
  reached?: Reached;
};

type Resource = { stop(): Promise<void> };

/**
 * Starts a worker: database (embedded without DATABASE_URL), provider (the simulator without OPENAI_API_KEY), HTTP; then
 * `ready`: migrations and jobs. A database that does not answer yet is waited for, and said so, with HTTP up and /readyz
 * telling. Rejects where something of its own cannot start, and leaves nothing running then.
 */
export async function startService(
  config: Config,
  logger: Logger,
  options: ServiceOptions = {},
): Promise<Service> {
  const directory = options.directory ?? path.join(projectDirectory, '.rowmill');
  const resources: Resource[] = [];
  const stopResources = async () => {
    for (const resource of resources.splice(0).reverse()) await resource.stop();
  };
  try {
    const databaseUrl = config.DATABASE_URL ?? (await startDatabase(directory, logger, resources));
    const provider = await startProvider(config, logger, resources);

    const worker = `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
    const store = createStore(createPostgresTransport({ url: databaseUrl }), worker, version);
    resources.push({ stop: () => store.close(1000) });
    const metrics = createMetrics();
    const deps: Deps = { store, provider, logger, metrics, reached: options.reached };

    const abort = new AbortController();
    let schedule: Schedule | undefined;
    const submission = createSubmission(deps, abort.signal, () => schedule?.wake('poll'));
    const app = await buildApp({ deps, submission, ingestSecret: config.ROWMILL_INGEST_SECRET, version });
    resources.push({ stop: () => app.close() });
    const url = await listenOrExplain(app, config);
    logger.info({ url, worker, version, provider: provider.name }, 'listening');

    const waiting = new AbortController();
    const becomeReady = async (): Promise<boolean> => {
      const migrated = await whenReachable(() => migrate({ url: databaseUrl }), {
        url: databaseUrl,
        logger,
        signal: waiting.signal,
      });
      if (migrated === null) return false;
      if (migrated.applied.length > 0) logger.info({ applied: migrated.applied }, 'migrations applied');
      if (waiting.signal.aborted) return false;
      // Before there is a lease that could run out.
      loadTokenizer();
      schedule = startJobs({ ...deps, submission }, config, abort.signal);
      for (const job of ['renew', 'tick', 'poll', 'harvest']) schedule.wake(job);
      logger.info('ready');
      return true;
    };
    const ready = becomeReady();
    // Whoever asks for it hears of it.
    ready.catch(() => {});

    let stopping: Promise<void> | undefined;
    const stop = async (timeoutMs: number) => {
      const deadline = setTimeout(() => abort.abort(new Error('the service stops')), timeoutMs);
      waiting.abort();
      await ready.catch(() => {});
      // No new posts and no new runs; then whatever is under way, until the deadline cuts it short.
      await Promise.all([app.close(), schedule?.stop(), submission.drain()]);
      clearTimeout(deadline);
      await stopResources();
      logger.info('stopped');
    };
    return {
      url,
      databaseUrl,
      ready,
      wake: (job) => schedule?.wake(job),
      stop: (timeoutMs = 7000) => {
        stopping ??= stop(timeoutMs);
        return stopping;
      },
    };
  } catch (error) {
    await stopResources();
    throw error;
  }
}

async function listenOrExplain(app: FastifyInstance, { HOST, PORT }: Config): Promise<string> {
  try {
    return await app.listen({ host: HOST, port: PORT });
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'EADDRINUSE') throw cause;
    throw new RowmillError(
      'port_taken',
      `Port ${PORT} of ${HOST} is taken. Set PORT to another one, or to 0 for any that is free.`,
      { cause },
    );
  }
}

async function startDatabase(directory: string, logger: Logger, resources: Resource[]): Promise<string> {
  // Optional: a production image leaves the binaries out.
  const { startEmbeddedPostgres } = await import('./embedded/embedded-postgres.ts');
  const database = await startEmbeddedPostgres({ directory });
  resources.push(database);
  logger.warn(
    { data: database.dataDirectory, port: database.port },
    'DATABASE_URL is not set: using an EMBEDDED Postgres',
  );
  return database.url;
}

async function startProvider(config: Config, logger: Logger, resources: Resource[]): Promise<Provider> {
  if (config.OPENAI_API_KEY !== undefined) {
    return createOpenAiProvider({
      apiKey: config.OPENAI_API_KEY,
      ...(config.OPENAI_BASE_URL === undefined ? {} : { baseURL: config.OPENAI_BASE_URL }),
    });
  }
  const { startSimulator } = await import('./simulator/simulator.ts');
  const simulator = await startSimulator();
  resources.push({ stop: () => simulator.close() });
  logger.warn(
    { url: simulator.url },
    'OPENAI_API_KEY is not set: a SIMULATOR answers; nothing is sent to OpenAI, nothing is paid',
  );
  return createOpenAiProvider({ apiKey: 'simulator', baseURL: simulator.url, name: 'simulator' });
}
