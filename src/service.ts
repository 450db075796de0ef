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
import { openDatabase, type Resource } from './open-database.ts';
import { loadTokenizer } from './pipeline/tokens.ts';
import { createOpenAiProvider } from './provider/openai.ts';
import type { Provider } from './provider/provider.ts';
import type { Vitals } from './routes/health.ts';
import { createStore } from './store/store.ts';
import { createSubmission } from './submission/submission.ts';

const projectDirectory = path.join(import.meta.dirname, '..');
export const version: string = JSON.parse(
  readFileSync(path.join(projectDirectory, 'package.json'), 'utf8'),
).version;

export type Service = {
  /** Where it listens. */
  url: string;
  /** null over the Data API, which has no address of the database. */
  databaseUrl: string | null;
  /**
   * Resolves once the database is reached, migrated, and worked with: true, or false where the service was stopped
   * before. Rejects where waiting would not help: a wrong password or key, a migration that fails.
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

/**
 * Starts a worker: database (embedded where none is configured), provider (the simulator without OPENAI_API_KEY), HTTP;
 * then `ready`: migrations (over the Data API: once others have applied them) and jobs. A database that does not answer
 * yet is waited for, and said so, with HTTP up and /readyz telling. Rejects where something of its own cannot start, and
 * leaves nothing running then.
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
    const database = await openDatabase(config, directory, logger, resources);
    const provider = await startProvider(config, logger, resources);

    const worker = `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
    const store = createStore(database.transport, worker, version);
    resources.push({ stop: () => store.close(1000) });
    const metrics = createMetrics();
    const deps: Deps = { store, provider, logger, metrics, reached: options.reached };

    const abort = new AbortController();
    let schedule: Schedule | undefined;
    const wakePoll = () => schedule?.wake('poll');
    const submission = createSubmission(deps, abort.signal, wakePoll);
    const ingestSecret = config.ROWMILL_INGEST_SECRET;
    const vitals: Vitals = {
      problems: () => schedule?.problems() ?? [],
      outage: () => schedule?.outage() ?? null,
    };
    const app = await buildApp({ deps, submission, ingestSecret, wakePoll, version, vitals });
    resources.push({ stop: () => app.close() });
    const url = await listenOrExplain(app, config);
    const { over } = database;
    logger.info({ url, worker, version, provider: provider.name, over }, 'listening');

    const waiting = new AbortController();
    const becomeReady = async (): Promise<boolean> => {
      if (!(await database.becomeCurrent(waiting.signal))) return false;
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
      databaseUrl: database.url,
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

async function startProvider(config: Config, logger: Logger, resources: Resource[]): Promise<Provider> {
  if (config.OPENAI_API_KEY !== undefined) {
    return createOpenAiProvider({
      apiKey: config.OPENAI_API_KEY,
      webhookSecret: config.OPENAI_WEBHOOK_SECRET,
      ...(config.OPENAI_BASE_URL === undefined ? {} : { baseURL: config.OPENAI_BASE_URL }),
    });
  }
  const url = config.ROWMILL_SIMULATOR_URL ?? (await startOwnSimulator(resources));
  logger.warn(
    { url },
    'OPENAI_API_KEY is not set: a SIMULATOR answers; nothing is sent to OpenAI, nothing is paid',
  );
  return createOpenAiProvider({
    apiKey: 'simulator',
    name: 'simulator',
    baseURL: url,
    webhookSecret: config.OPENAI_WEBHOOK_SECRET,
  });
}

async function startOwnSimulator(resources: Resource[]): Promise<string> {
  const { startSimulator } = await import('./simulator/simulator.ts');
  const simulator = await startSimulator();
  resources.push({ stop: () => simulator.close() });
  return simulator.url;
}
