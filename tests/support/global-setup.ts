import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import { startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A superuser's URL of the server that the whole run shares; take a database from `database.ts`. */
    databaseUrl: string;
  }
}

/**
 * One server for the whole run: the one that TEST_DATABASE_URL names (any Postgres from 15 on, as a superuser), else
 * an embedded one in a temporary directory that is removed afterwards.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.TEST_DATABASE_URL;
  if (given) {
    project.provide('databaseUrl', given);
    return async () => undefined;
  }
  const directory = await mkdtemp(path.join(tmpdir(), 'rowmill-tests-'));
  // Run by root, Postgres is another user, who has to pass through here.
  await chmod(directory, 0o711);
  const remove = () => rm(directory, { recursive: true, force: true, maxRetries: 5 });
  // Nobody reads these data after a power cut.
  const settings = {
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    max_connections: '200',
  };
  const server = await startEmbeddedPostgres({ directory, settings }).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  project.provide('databaseUrl', server.url);
  return async () => {
    await server.stop();
    await remove();
  };
}
