import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { migrate } from './store/migrate.ts';
import { createPostgresTransport } from './store/postgres-transport.ts';
import type { Transport } from './store/transport.ts';
import { whenCurrent } from './store/when-current.ts';
import { whenReachable } from './store/when-reachable.ts';

export type Resource = { stop(): Promise<void> };

export type Database = {
  /** How it is called. */
  over: 'postgres' | 'data_api';
  /** null over the Data API. */
  url: string | null;
  transport: Transport;
  /** Resolves once it is reached and has all migrations: true, or false where the signal was aborted before. */
  becomeCurrent(signal: AbortSignal): Promise<boolean>;
};

/** The database that is configured; without any, an embedded one, which is added to the resources. */
export async function openDatabase(
  config: Config,
  directory: string,
  logger: Logger,
  resources: Resource[],
): Promise<Database> {
  return (
    (await configuredDatabase(config, logger)) ??
    overPostgres(await startEmbedded(directory, logger, resources), logger)
  );
}

/** The database that the environment names; null where it names none. */
export async function configuredDatabase(config: Config, logger: Logger): Promise<Database | null> {
  const { DATABASE_URL, SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY } = config;
  if (DATABASE_URL !== undefined) return overPostgres(DATABASE_URL, logger);
  if (SUPABASE_URL !== undefined && SUPABASE_SERVICE_ROLE_KEY !== undefined) {
    return await overDataApi(SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY, logger);
  }
  return null;
}

function overPostgres(url: string, logger: Logger): Database {
  return {
    over: 'postgres',
    url,
    transport: createPostgresTransport({ url }),
    becomeCurrent: async (signal) => {
      const migrated = await whenReachable(() => migrate({ url }), { url, logger, signal });
      if (migrated === null) return false;
      if (migrated.applied.length > 0) logger.info({ applied: migrated.applied }, 'migrations applied');
      return true;
    },
  };
}

async function overDataApi(url: string, key: string, logger: Logger): Promise<Database> {
  // Some megabytes that a worker with a connection of its own need not have.
  const { createSupabaseTransport } = await import('./store/supabase-transport.ts');
  const transport = createSupabaseTransport({ url, key });
  const place = new URL(url).host;
  return {
    over: 'data_api',
    url: null,
    transport,
    becomeCurrent: (signal) => whenCurrent(transport, { place, logger, signal }),
  };
}

async function startEmbedded(directory: string, logger: Logger, resources: Resource[]): Promise<string> {
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
