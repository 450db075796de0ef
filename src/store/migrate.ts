import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import postgres from 'postgres';
import { messageOf, RowmillError } from '../errors.ts';
import { connectionUrl } from './connection-url.ts';
import { explainAway, isConnectionFailure } from './database-away.ts';

export const migrationsDirectory = path.join(import.meta.dirname, '../../supabase/migrations');

// Any number that nobody else is likely to lock: 'rowmill' in base 36, roughly.
const migrationLock = 60_177_411_165n;

type Migration = { version: string; name: string; file: string };

/**
 * Applies the migrations that the database has not seen, in the order of their versions, each in a
 * transaction of its own, and records them where the Supabase CLI does, so that either sees what the
 * other did.
 *
 * Two callers at once: the second waits and finds nothing to do. A crash undoes the migration in hand; the
 * next call goes on with it. Raises `migration_failed` with the file's name, `database_unreachable`.
 */
export async function migrate(options: { url: string; directory?: string }): Promise<{ applied: string[] }> {
  const { directory = migrationsDirectory } = options;
  const migrations = await listMigrations(directory);
  const sql = postgres(connectionUrl(options.url).url, {
    max: 1,
    onnotice: () => {},
    connect_timeout: 10,
    // As in postgres-transport.ts: a server that goes down while a worker starts must not take it along.
    fetch_types: false,
    connection: { application_name: 'rowmill migrate' },
  });
  const applied: string[] = [];
  try {
    // A worker's role may call functions and create nothing; where nothing is missing, it need not.
    if ((await missingMigrations(sql, directory)).length === 0) return { applied };
    for (const migration of migrations) {
      if (await applyOnce(sql, migration)) applied.push(migration.version);
    }
  } catch (error) {
    explainAway(error);
  } finally {
    await sql.end({ timeout: 5 });
  }
  return { applied };
}

/** Versions that a database lacks; empty: it is current. A role with a worker's rights alone may ask. */
export async function missingMigrations(
  sql: postgres.Sql,
  directory: string = migrationsDirectory,
): Promise<string[]> {
  const [known] = await sql`select to_regprocedure('rowmill.migration_versions()') is not null as is_there`;
  // Without the function some are missing; which ones is for the owner to read.
  if (!known?.is_there) return await versionsBeyond([], directory);
  const rows = await sql<{ version: string }[]>`select version from rowmill.migration_versions() as version`;
  return await versionsBeyond(
    rows.map((row) => row.version),
    directory,
  );
}

/** Versions that are not among those which a database has. */
export async function versionsBeyond(
  applied: string[],
  directory: string = migrationsDirectory,
): Promise<string[]> {
  const versions = (await listMigrations(directory)).map((migration) => migration.version);
  return versions.filter((version) => !applied.includes(version));
}

/** Says that these versions are missing, and what to do. */
export function tellMissing(versions: string[]): string {
  return `Expected all migrations; ${versions.length} are missing, from ${versions[0]} on. Run npm run migrate with DATABASE_URL, or supabase db push.`;
}

async function listMigrations(directory: string): Promise<Migration[]> {
  const files = (await readdir(directory)).filter((file) => file.endsWith('.sql')).sort();
  return files.map((file) => {
    const match = /^(\d+)_(.+)\.sql$/.exec(file);
    if (!match) {
      throw new RowmillError('migration_name', `expected <timestamp>_<name>.sql, came ${file}; rename it`, {
        fields: { file },
      });
    }
    return { version: match[1]!, name: match[2]!, file: path.join(directory, file) };
  });
}

async function applyOnce(sql: postgres.Sql, migration: Migration): Promise<boolean> {
  const text = await readFile(migration.file, 'utf8');
  return await sql.begin(async (tx) => {
    // Held to the end of the transaction, which works through a pooler too.
    await tx`select pg_advisory_xact_lock(${migrationLock.toString()}::bigint)`;
    // The shape that the Supabase CLI gives it.
    await tx`create schema if not exists supabase_migrations`;
    await tx`
      create table if not exists supabase_migrations.schema_migrations (
        version text not null primary key,
        statements text[],
        name text
      )`;
    const [seen] =
      await tx`select from supabase_migrations.schema_migrations where version = ${migration.version}`;
    if (seen) return false;
    try {
      await tx.unsafe(text);
    } catch (error) {
      if (isConnectionFailure(error)) throw error;
      const message = messageOf(error);
      throw new RowmillError(
        'migration_failed',
        `migration ${path.basename(migration.file)} failed: ${message}`,
        {
          fields: { version: migration.version },
          cause: error,
        },
      );
    }
    await tx`
      insert into supabase_migrations.schema_migrations (version, statements, name)
      values (${migration.version}, array[${text}], ${migration.name})`;
    return true;
  });
}
