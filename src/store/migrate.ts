import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import postgres from 'postgres';
import { messageOf, RowmillError } from '../errors.ts';
import { connectionUrl } from './connection-url.ts';
import { explainAway, isConnectionFailure, refusesWrites } from './database-away.ts';
import { hasList, refuseEncoding, refuseForeign, refuseUnknown } from './refuse-database.ts';

export const migrationsDirectory = path.join(import.meta.dirname, '../../supabase/migrations');

// What Postgres says of a schema or a table that somebody else made in the meantime; 42710 is a table's row type.
const madeMeanwhile = new Set(['42P06', '42P07', '42710', '23505']);
const triesToMakeList = 5;

type Migration = { version: string; name: string; file: string };

/**
 * Applies the migrations that the database has not seen, in the order of their versions, each in a
 * transaction of its own, and records them where the Supabase CLI does, so that either sees what the
 * other did.
 *
 * Two callers at once: the second waits and finds nothing to do. A crash undoes the migration in hand; the
 * next call goes on with it. Raises `migration_failed` with the file's name, `database_unreachable`, `database_read_only`,
 * `database_full`, and, before anything is changed, `database_encoding`, `schema_foreign`, `migration_unknown` (see
 * refuse-database.ts), `rights_missing`.
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
    await refuseEncoding(sql);
    const role = await refuseForeign(sql);
    if (role.mayMigrate) await refuseUnknown(sql, migrations);
    const missing = await missingMigrations(sql, directory);
    if (missing.length === 0) return { applied };
    // A worker's role may call functions and create nothing; where nothing is missing, it need not.
    if (!role.mayMigrate) {
      throw new RowmillError(
        'rights_missing',
        `${tellMissing(missing)} Role ${role.name} may not apply them: that takes the rights of the owner of schema rowmill or, where there is none yet, create on database ${role.database}.`,
        { fields: { missing } },
      );
    }
    await makeList(sql);
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

/**
 * Versions that a database lacks; empty: it is current. A role with a worker's rights alone may ask. Raises
 * `schema_foreign`: the function that it asks would be a stranger's.
 */
export async function missingMigrations(
  sql: postgres.Sql,
  directory: string = migrationsDirectory,
): Promise<string[]> {
  await refuseForeign(sql);
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

/** Makes the list of migrations in the shape that the Supabase CLI gives it, unless it is there. */
async function makeList(sql: postgres.Sql): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    await refuseForeign(sql);
    if (await hasList(sql)) return;
    const found = await sql`select from pg_catalog.pg_namespace as n where n.nspname = 'supabase_migrations'`;
    try {
      // Without "if not exists": what a stranger makes at this moment is looked at first.
      await sql.begin(async (tx) => {
        if (found.length === 0) await tx`create schema supabase_migrations`;
        await tx`
          create table supabase_migrations.schema_migrations (
            version text not null primary key,
            statements text[],
            name text
          )`;
      });
      return;
    } catch (error) {
      if (!madeMeanwhile.has((error as { code: string }).code) || tries === triesToMakeList) throw error;
    }
  }
}

async function applyOnce(sql: postgres.Sql, migration: Migration): Promise<boolean> {
  const text = await readFile(migration.file, 'utf8');
  try {
    return await sql.begin(async (tx) => {
      // Held to the end of the transaction, which works through a pooler too. Only who may change the list can take it. It
      // does not stop the Supabase CLI's insert into the list: that would wait for us, and we for the schema that it makes.
      await tx`lock table supabase_migrations.schema_migrations in share update exclusive mode`;
      if (await isRecorded(tx, migration)) return false;
      await run(tx, migration, text);
      await tx`
        insert into supabase_migrations.schema_migrations (version, statements, name)
        values (${migration.version}, array[${text}], ${migration.name})`;
      return true;
    });
  } catch (error) {
    // The Supabase CLI takes no lock: what stood in the way may be the same migration, applied by it.
    if (!isConnectionFailure(error) && (await isRecorded(sql, migration))) return false;
    throw error;
  }
}

async function isRecorded(sql: postgres.ISql, { version }: Migration): Promise<boolean> {
  const rows = await sql`select from supabase_migrations.schema_migrations as m where m.version = ${version}`;
  return rows.length > 0;
}

async function run(tx: postgres.TransactionSql, migration: Migration, text: string): Promise<void> {
  try {
    await tx.unsafe(text);
  } catch (error) {
    if (isConnectionFailure(error) || refusesWrites(error) !== null) throw error;
    const { detail, hint } = error as { detail?: string; hint?: string };
    const said = [messageOf(error), detail, hint].filter((line) => line !== undefined).join('\n');
    throw new RowmillError('migration_failed', `migration ${path.basename(migration.file)} failed: ${said}`, {
      fields: { version: migration.version },
      cause: error,
    });
  }
}
