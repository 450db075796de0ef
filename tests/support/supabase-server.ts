import postgres from 'postgres';
import { type DebianPostgres, startDebianPostgres } from './debian-postgres.ts';
import { ensureSupabaseOwner } from './supabase-owner.ts';

export type SupabaseServer = {
  server: DebianPostgres;
  /** The superuser's. */
  adminUrl: string;
  /** Of `postgres`, which is no superuser there. */
  url: string;
  stop(): Promise<void>;
};

/**
 * Debian's PostgreSQL 15 with pg_cron and pg_stat_statements, and with the roles and grants of a Supabase project:
 * `admin` is the superuser, `postgres` owns the database.
 */
export async function startSupabaseServer(settings: Record<string, string> = {}): Promise<SupabaseServer> {
  const server = await startDebianPostgres({
    shared_preload_libraries: 'pg_cron,pg_stat_statements',
    'pg_stat_statements.track': 'all',
    'cron.database_name': 'app',
    ...settings,
  });
  const owner = new URL(await ensureSupabaseOwner(server.url));
  const admin = postgres(server.url, { max: 1, onnotice: () => {} });
  await admin.unsafe(`create database app owner ${owner.username}`).finally(() => admin.end());
  const adminUrl = server.url.replace(/\/postgres$/, '/app');
  const app = postgres(adminUrl, { max: 1, onnotice: () => {} });
  try {
    // What Supabase grants when pg_cron is enabled in a project.
    await app.unsafe(`
      create extension pg_cron;
      grant usage on schema cron to postgres with grant option;
      grant all on all functions in schema cron to postgres with grant option;
      grant all privileges on all tables in schema cron to postgres with grant option;
      revoke all on table cron.job from postgres;
      grant select on table cron.job to postgres with grant option;
      create schema extensions;
      create extension pg_stat_statements with schema extensions;
      grant usage on schema extensions to postgres`);
  } finally {
    await app.end();
  }
  return {
    server,
    adminUrl,
    url: Object.assign(owner, { pathname: '/app' }).href,
    stop: () => server.stop(),
  };
}
