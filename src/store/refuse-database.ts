import path from 'node:path';
import type postgres from 'postgres';
import { RowmillError } from '../errors.ts';

type Named = { version: string; name: string | null };
type Thing = { what: string; owner: string; is_trusted: boolean; is_mine: boolean };
export type Role = { name: string; database: string; mayMigrate: boolean };

// Every function below is called with its schema, and every operator has one form for its types alone: a stranger's
// functions and operators, which the search_path of a role may reach, are never chosen.

/** What the server stores texts in. */
export async function databaseEncoding(sql: postgres.Sql): Promise<string> {
  const [row] = await sql<{ encoding: string }[]>`
    select pg_catalog.current_setting('server_encoding') as encoding`;
  return row!.encoding;
}

/** What to do about a database whose encoding is not UTF8. */
export const encodingRemedy =
  "Create a database with that encoding and move your tables there: create database app encoding 'UTF8' template template0;";

/** Raises `database_encoding` where texts are not stored as UTF8. */
export async function refuseEncoding(sql: postgres.Sql): Promise<void> {
  const encoding = await databaseEncoding(sql);
  if (encoding === 'UTF8') return;
  throw refusal('database_encoding', { encoding }, [
    `Expected a database with encoding UTF8, came ${encoding}.`,
    'Rows, prompts and answers may contain any character. Nothing was changed.',
    encodingRemedy,
  ]);
}

/**
 * Raises `schema_foreign` where a schema that a migration works in, or the list of migrations, belongs to a role whose
 * code must not run with the rights of the current one. Calls and reads nothing that is in them. A worker's role, which
 * can create nothing, is not asked to trust anybody: it is there to call what the schema's owner made.
 *
 * A superuser counts as a member of every role, which says nothing of trust; so its memberships do not count.
 */
export async function refuseForeign(sql: postgres.Sql): Promise<Role> {
  const [me] = await sql<{ name: string; database: string; may_create: boolean }[]>`
    select
      current_user as name,
      pg_catalog.current_database() as database,
      pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') as may_create`;
  const things = await sql<Thing[]>`
    with things as (
      select pg_catalog.concat('schema ', n.nspname) as what, n.nspowner as owner
      from pg_catalog.pg_namespace as n
      where n.nspname = 'rowmill' or n.nspname = 'supabase_migrations'
      union all
      select 'table supabase_migrations.schema_migrations', c.relowner
      from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
      where n.nspname = 'supabase_migrations' and c.relname = 'schema_migrations'
    )
    select
      t.what,
      o.rolname as owner,
      o.rolsuper
        or pg_catalog.pg_has_role(o.oid, r.oid, 'member')
        or (not r.rolsuper and pg_catalog.pg_has_role(r.oid, o.oid, 'usage')) as is_trusted,
      pg_catalog.pg_has_role(r.oid, o.oid, 'usage') as is_mine
    from things as t
    join pg_catalog.pg_roles as o on o.oid = t.owner
    join pg_catalog.pg_roles as r on r.rolname = current_user`;
  const { name, database, may_create } = me!;
  const schema = things.find(({ what }) => what === 'schema rowmill');
  const foreign = things.find(({ is_trusted }) => !is_trusted);
  if ((may_create || schema?.is_mine) && foreign) {
    const { what, owner } = foreign;
    throw refusal('schema_foreign', { what, owner }, [
      `Expected ${what} to belong to ${name}, came ${owner}.`,
      `Code of ${owner} there would run with the rights of ${name}. Nothing was changed.`,
      `Look at what it holds. Then drop it, or alter ${what} owner to ${name}; or connect as ${owner}, if that is the role that owns your tables.`,
    ]);
  }
  return { name, database, mayMigrate: schema?.is_mine ?? may_create };
}

/**
 * Raises `migration_unknown` where something else than these migrations made schema rowmill, or newer ones did. The list
 * must be one that `refuseForeign` let pass.
 */
export async function refuseUnknown(
  sql: postgres.Sql,
  migrations: { version: string; name: string; file: string }[],
): Promise<void> {
  // Before the list: a migration of another worker makes tables and its record visible in one moment.
  const [made] = await sql<{ tables: number }[]>`
    select pg_catalog.count(*)::pg_catalog.int4 as tables
    from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'rowmill' and (c.relkind = 'r' or c.relkind = 'p')`;
  const recorded = await readList(sql);
  if (recorded === null) return;

  const newer = recorded.filter(
    ({ name }) => /^rowmill_\d+_\d+_\d+$/.test(name ?? '') && !migrations.some((ours) => ours.name === name),
  );
  if (newer.length > 0) {
    const versions = newer.map(({ name }) => name!.slice('rowmill_'.length).replaceAll('_', '.'));
    throw refusal('migration_unknown', { versions }, [
      `Expected no migrations of Rowmill beyond this program's, came ${newer.map(titleOf).join(', ')}.`,
      'The database is newer than this program. Nothing was changed.',
      `Run a program of version ${versions.at(-1)} or newer.`,
    ]);
  }

  const [first] = migrations;
  if (made!.tables === 0 || !first || recorded.some(({ version }) => version === first.version)) return;
  const unreleased = recorded.filter(({ version }) => /^2026112100\d{4}$/.test(version));
  const found =
    unreleased.length === 0
      ? 'supabase_migrations.schema_migrations records nothing that made them'
      : `supabase_migrations.schema_migrations records ${unreleased.length} unreleased migrations, ${titleOf(unreleased[0]!)} to ${titleOf(unreleased.at(-1)!)}`;
  const record = `insert into supabase_migrations.schema_migrations (version, name) values ('${first.version}', '${first.name}');`;
  throw refusal(
    'migration_unknown',
    { tables: made!.tables, unreleased: unreleased.map((one) => one.version) },
    [
      `Expected schema rowmill to be empty or made by ${path.basename(first.file)}, came ${made!.tables} tables; ${found}.`,
      'This program cannot bring them up to date. Nothing was changed.',
      `To start from an empty schema: drop schema rowmill cascade; ${
        unreleased.length === 0
          ? ''
          : "delete from supabase_migrations.schema_migrations where version like '2026112100____'; "
      }migrate; declare the pipelines again. Rows of your tables stay.`,
      ...(unreleased.length === 0
        ? [`Where psql or a restore brought exactly that file's tables: ${record}`]
        : []),
    ],
  );
}

/** Whether the list of migrations is there. Does not need a right on its schema, as to_regclass does. */
export async function hasList(sql: postgres.Sql): Promise<boolean> {
  const rows = await sql`
    select from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'supabase_migrations' and c.relname = 'schema_migrations'`;
  return rows.length > 0;
}

/** What the list records, nothing where there is none; null where this role may not read it. */
async function readList(sql: postgres.Sql): Promise<Named[] | null> {
  const [list] = await sql<{ is_open: boolean }[]>`
    select pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_table_privilege(c.oid, 'select') as is_open
    from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'supabase_migrations' and c.relname = 'schema_migrations'`;
  if (!list) return [];
  if (!list.is_open) return null;
  return await sql<Named[]>`
    select m.version, m.name from supabase_migrations.schema_migrations as m order by m.version`;
}

function titleOf({ version, name }: Named): string {
  return name ? `${version}_${name}` : version;
}

/** What was found, what that means, and what to do, each on a line of its own. */
function refusal(code: string, fields: Record<string, unknown>, lines: string[]): RowmillError {
  return new RowmillError(code, lines.join('\n'), { fields });
}
