import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  export interface ProvidedContext {
    databaseUrl: string;
  }
}

/** One server for the whole run: TEST_DATABASE_URL, or an embedded Postgres in a directory of its own. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.TEST_DATABASE_URL;
  if (given) {
    // A template of an earlier run may hold other migrations.
    const sql = postgres(given, { max: 1, onnotice: () => {} });
    await sql.unsafe('drop database if exists rowmill_template with (force)');
    await sql.end();
    project.provide('databaseUrl', given);
    return async () => {};
  }
  const { startEmbeddedPostgres } = await import('../../src/embedded/embedded-postgres.ts');
  const directory = await mkdtemp(path.join(tmpdir(), 'rowmill-test-'));
  const database = await startEmbeddedPostgres({ directory, settings: { fsync: 'off' } });
  project.provide('databaseUrl', database.url);
  return async () => {
    await database.stop();
    await rm(directory, { recursive: true, force: true });
  };
}
