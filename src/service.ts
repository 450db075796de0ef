import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { buildApp } from './app.ts';
import type { Config } from './config.ts';
import type { Deps } from './deps.ts';
import { RowmillError } from './errors.ts';
import { startJobs } from './jobs/index.ts';
import { createMetrics } from './metrics.ts';
import { createOpenAiProvider } from './provider/openai.ts';
import type { Provider } from './provider/provider.ts';
import { migrate } from './store/migrate.ts';
import { createPostgresTransport } from './store/postgres-transport.ts';
import { createStore } from './store/store.ts';
import { createSubmission } from './submission/submission.ts';

const projectDirectory = path.join(import.meta.dirname, '..');
export const version: string = JSON.parse(
  readFileSync(path.join(projectDirectory, 'package.json'), 'utf8'),
).version;

export type Service = {
  /** Where it listens. */
  url: string;
  databaseUrl: string;
  /** Runs the named job now, as if its time had come. */
  wake(job: 'tick' | 'submit' | 'poll' | 'harvest'): void;
  /** Finishes what is in hand, gives up after `timeoutMs`, and releases everything. Harmless to repeat. */
  stop(timeoutMs?: number): Promise<void>;
};

type Resource = { stop(): Promise<void> };

/**
 * Starts a worker: database (embedded without DATABASE_URL), migrations, provider (the simulator without
 * OPENAI_API_KEY), HTTP and jobs. Rejects where one of them cannot start, and leaves nothing running then.
 */
export async function startService(
  config: Config,
  logger: Logger,
  options: { directory?: string } = {},
): Promise<Service> {
  const directory = options.directory ?? path.join(projectDirectory, '.rowmill');
  const resources: Resource[] = [];
  const stopResources = async () => {
    for (const resource of resources.splice(0).reverse()) await resource.stop();
  };
  try {
    const databaseUrl = config.DATABASE_URL ?? (await startDatabase(directory, logger, resources));
    const { applied } = await migrateOrExplain(databaseUrl);
    if (applied.length > 0) logger.info({ applied }, 'migrations applied');
    const provider = await startProvider(config, logger, resources);

    const worker = `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
    const store = createStore(createPostgresTransport({ url: databaseUrl }), worker);
    resources.push({ stop: () => store.close(1000) });
    const metrics = createMetrics();
    const deps: Deps = { store, provider, logger, metrics };

    const abort = new AbortController();
    const wake = { poll: () => {} };
    const submission = createSubmission(deps, abort.signal, () => wake.poll());
    const app = await buildApp({ deps, submission, ingestSecret: config.ROWMILL_INGEST_SECRET, version });
    const schedule = startJobs({ ...deps, submission, version }, config, abort.signal);
    wake.poll = () => schedule.wake('poll');
    resources.push({ stop: () => schedule.stop() });
    const url = await listenOrExplain(app, config);
    schedule.wake('tick');
    schedule.wake('poll');
    logger.info({ url, worker, version, provider: provider.name }, 'listening');

    let stopping: Promise<void> | undefined;
    const stop = async (timeoutMs: number) => {
      const deadline = setTimeout(() => abort.abort(new Error('the service stops')), timeoutMs);
      // No new posts and no new runs; then whatever is under way, until the deadline cuts it short.
      await Promise.all([app.close(), schedule.stop(), submission.drain()]);
      clearTimeout(deadline);
      await stopResources();
      logger.info('stopped');
    };
    return {
      url,
      databaseUrl,
      wake: schedule.wake,
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

/** What a person can do something about, in words: where the database is, and which port is taken. */
async function migrateOrExplain(url: string): Promise<{ applied: string[] }> {
  try {
    return await migrate({ url });
  } catch (cause) {
    const { code, message } = cause as { code?: string; message?: string };
    if (!['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'CONNECT_TIMEOUT'].includes(code ?? '')) throw cause;
    const { hostname, port } = new URL(url);
    const place = `${hostname}:${port || 5432}`;
    throw new RowmillError(
      'database_unreachable',
      `No Postgres answers at ${place} (${message || code}). Start it, or correct DATABASE_URL.`,
      { fields: { place }, cause },
    );
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
