import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate, migrationsDirectory } from '../../src/store/migrate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitFor } from '../support/service.ts';

describe('migrate', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase({ migrated: false });
  });
  afterAll(() => database.drop());

  it('migrates once where twenty workers start at the same moment', async () => {
    const runs = await Promise.all(Array.from({ length: 20 }, () => migrate({ url: database.url })));
    const applied = runs.flatMap((run) => run.applied);
    expect(applied.length).toBeGreaterThan(0);
    expect(new Set(applied).size).toBe(applied.length);
  });

  it('records what it applied as the Supabase CLI does, and finds nothing to do the next time', async () => {
    const rows =
      await database.sql`select version, name, statements from supabase_migrations.schema_migrations order by version`;
    expect(rows[0]).toMatchObject({ name: 'rowmill_0_1_0' });
    expect(rows[0]!.statements[0]).toContain('create schema');
    expect(await migrate({ url: database.url })).toEqual({ applied: [] });
  });

  it('waits for no lock that a stranger can take', async () => {
    const fresh = await createDatabase({ migrated: false });
    try {
      await fresh.sql.begin(async (tx) => {
        // The one that it took once.
        await tx`select pg_advisory_xact_lock(60177411165)`;
        expect((await migrate({ url: fresh.url })).applied).toHaveLength(1);
      });
    } finally {
      await fresh.drop();
    }
  });

  it('waits for another that is at it, which holds the list alone', async () => {
    const fresh = await createDatabase({ migrated: false });
    try {
      await fresh.sql.unsafe(list);
      const first = await fresh.sql.reserve();
      await first`begin`;
      await first`lock table supabase_migrations.schema_migrations in share update exclusive mode`;
      const run = migrate({ url: fresh.url });
      await blockedIn(fresh);
      expect(await fresh.sql`select to_regnamespace('rowmill') as schema`).toEqual([{ schema: null }]);
      await first`commit`;
      first.release();
      expect((await run).applied).toHaveLength(1);
    } finally {
      await fresh.drop();
    }
  });

  it('finds nothing to do where the Supabase CLI applies the same at the same moment', async () => {
    const fresh = await createDatabase({ migrated: false });
    try {
      await fresh.sql.unsafe(list);
      const file = '20261127000000_rowmill_0_1_0.sql';
      const cli = await fresh.sql.reserve();
      await cli`begin`;
      await cli.unsafe(await readFile(path.join(migrationsDirectory, file), 'utf8'));
      const run = migrate({ url: fresh.url });
      await blockedIn(fresh);
      // As the CLI does it: the record comes last. It must not wait for ours, which waits for it: one of the two would end.
      await cli`set local lock_timeout = '300ms'`;
      await cli`insert into supabase_migrations.schema_migrations (version, name) values ('20261127000000', 'rowmill_0_1_0')`;
      await cli`commit`;
      cli.release();
      expect(await run).toEqual({ applied: [] });
      expect(await fresh.sql`select from supabase_migrations.schema_migrations`).toHaveLength(1);
    } finally {
      await fresh.drop();
    }
  });
});

const list = `
  create schema supabase_migrations;
  create table supabase_migrations.schema_migrations (version text not null primary key, statements text[], name text)`;

/** Resolves once "rowmill migrate" waits for a lock in this database. */
async function blockedIn({ sql }: TestDatabase): Promise<void> {
  await waitFor('migrate waits', async () => {
    const rows = await sql`
      select from pg_stat_activity as a
      where a.datname = current_database() and a.application_name = 'rowmill migrate' and a.wait_event_type = 'Lock'`;
    return rows.length > 0 ? true : null;
  });
}
