import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import { supabaseCli } from '../../scripts/supabase-cli.ts';
import { startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';
import { ensureSupabaseOwner } from './supabase-owner.ts';
import { ensureSupabaseRoles } from './supabase-roles.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A superuser's URL of the server that the whole run shares; take a database from `database.ts`. */
    databaseUrl: string;
    /** The same server's URL for the role that owns what `database.ts` makes, which is no superuser; null: the superuser. */
    ownerUrl: string | null;
  }
}

/**
 * One server for the whole run: the one that TEST_DATABASE_URL names (any Postgres from 15 on, as a superuser), else
 * an embedded one in a temporary directory that is removed afterwards.
 *
 * With TEST_AS=supabase every database belongs to a role like the one that a Supabase project gives to its owner, and is
 * migrated by the Supabase CLI.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  checkMode();
  const given = process.env.TEST_DATABASE_URL;
  if (given) {
    await provide(project, given);
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
  const stop = async () => {
    await server.stop();
    await remove();
  };
  await provide(project, server.url).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return stop;
}

function checkMode(): void {
  const mode = process.env.TEST_AS || undefined;
  if (mode !== undefined && mode !== 'supabase') {
    throw new Error(`expected TEST_AS to be supabase or nothing, came ${mode}`);
  }
  // Applied in another way, the migrations would prove nothing about the CLI.
  if (mode === 'supabase' && supabaseCli === undefined) {
    throw new Error('TEST_AS=supabase migrates with the Supabase CLI; set SUPABASE_CLI to its path');
  }
}

async function provide(project: TestProject, adminUrl: string): Promise<void> {
  // Before any migration, which grants to those that are there.
  await ensureSupabaseRoles(adminUrl);
  project.provide('databaseUrl', adminUrl);
  project.provide(
    'ownerUrl',
    process.env.TEST_AS === 'supabase' ? await ensureSupabaseOwner(adminUrl) : null,
  );
}
