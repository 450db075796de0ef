import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../src/store/migrate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

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
});
