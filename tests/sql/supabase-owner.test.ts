import { readdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { supabase, supabaseCli } from '../../scripts/supabase-cli.ts';
import { migrate, migrationsDirectory } from '../../src/store/migrate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const asSupabase = inject('ownerUrl') !== null;

// CI sets SUPABASE_CLI; elsewhere the CLI, which is no dependency, may be missing.
describe.skipIf(supabaseCli === undefined)(
  'the Supabase CLI and npm run migrate (SUPABASE_CLI names the CLI)',
  () => {
    let pushed: TestDatabase;
    let migrated: TestDatabase;
    beforeAll(async () => {
      pushed = await createDatabase({ migrated: false });
      migrated = await createDatabase({ migrated: false });
    });
    afterAll(async () => {
      await pushed.drop();
      await migrated.drop();
    });

    const versions = async () =>
      (await readdir(migrationsDirectory))
        .filter((file) => file.endsWith('.sql'))
        .map((file) => file.split('_')[0])
        .sort();
    const recorded = async ({ sql }: TestDatabase) =>
      (await sql`select version from supabase_migrations.schema_migrations order by version`).map(
        (row) => row.version,
      );

    it('leave nothing to migrate after a push', async () => {
      await supabase('db', 'push', `--remote=${pushed.url}`);
      expect(await recorded(pushed)).toEqual(await versions());
      expect(await migrate({ url: pushed.url })).toEqual({ applied: [] });
    });

    it('leave nothing to push after a migration', async () => {
      expect((await migrate({ url: migrated.url })).applied).toEqual(await versions());
      const told = JSON.parse(
        await supabase('db', 'push', `--remote=${migrated.url}`, '--output-format', 'json'),
      );
      expect(told).toMatchObject({ upToDate: true, migrations: [] });
      expect(await recorded(migrated)).toEqual(await versions());
    });

    it('make the same of an empty database', async () => {
      const shape = async ({ sql }: TestDatabase) =>
        await sql`
      select c.relname, a.attname, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull
      from pg_class as c join pg_attribute as a on a.attrelid = c.oid
      where c.relnamespace = 'rowmill'::regnamespace and a.attnum > 0
      union all
      select 'function', p.oid::regprocedure::text, md5(p.prosrc), null
      from pg_proc as p where p.pronamespace = 'rowmill'::regnamespace
      order by 1, 2`;
      expect(await shape(pushed)).toEqual(await shape(migrated));
    });
  },
);

describe.runIf(asSupabase)('with TEST_AS=supabase', () => {
  it('a test is the owner of its database, and no superuser', async () => {
    const database = await createDatabase();
    const [row] = await database.sql`
      select r.rolsuper, r.rolcreaterole, d.datdba = r.oid as owns_database, n.nspowner = r.oid as owns_schema
      from pg_roles as r, pg_database as d, pg_namespace as n
      where r.rolname = current_user and d.datname = current_database() and n.nspname = 'rowmill'`;
    await database.drop();
    expect(row).toEqual({ rolsuper: false, rolcreaterole: true, owns_database: true, owns_schema: true });
  });
});
