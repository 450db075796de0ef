import { createHash } from 'node:crypto';
import { glob, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { parse } from 'smol-toml';

/** The folder that the Supabase CLI knows, too. */
export const supabase = path.join(import.meta.dirname, '../../supabase');

/** A file of `schemas/`: one function, table, view or type, whole. */
export type Room = {
  /** From `supabase/` on, e.g. `schemas/functions/tick/tick.sql`. */
  file: string;
  text: string;
  digest: string;
  /** Whether an upgrade may run it again: it replaces what it made. */
  isRepeatable: boolean;
};

/**
 * All rooms, in the order of `[db.migrations] schema_paths` in config.toml; what two patterns match comes with the first.
 * Raises where a file of `schemas/` is matched by none: it would be in no migration.
 */
export async function readRooms(directory: string): Promise<Room[]> {
  const files: string[] = [];
  for (const pattern of await schemaPaths(directory)) {
    const matches: string[] = [];
    for await (const match of glob(pattern, { cwd: directory })) matches.push(asPosix(match));
    files.push(...matches.sort());
  }
  const inOrder = [...new Set(files)];
  for await (const match of glob('schemas/**/*.sql', { cwd: directory })) {
    if (inOrder.includes(asPosix(match))) continue;
    throw new Error(
      `${asPosix(match)} is in no migration: expected a pattern of schema_paths in config.toml to match it, came none; add one`,
    );
  }
  return await Promise.all(
    inOrder.map(async (file) => {
      const text = await readFile(path.join(directory, file), 'utf8');
      return {
        file,
        text,
        digest: digestOf(text),
        isRepeatable: /^schemas\/(functions\/|views\/|99_)/.test(file),
      };
    }),
  );
}

/** Supabase's own list (declarative schemas), so that there is one order and no other. */
async function schemaPaths(directory: string): Promise<string[]> {
  const config = parse(await readFile(path.join(directory, 'config.toml'), 'utf8')) as {
    db?: { migrations?: { schema_paths?: string[] } };
  };
  const paths = config.db?.migrations?.schema_paths ?? [];
  if (paths.length === 0) {
    throw new Error('expected [db.migrations] schema_paths in supabase/config.toml, came none');
  }
  return paths.map((one) => path.posix.normalize(one));
}

export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The names of a folder's files, sorted; none where there is no such folder. */
export async function listFolder(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names.sort();
}

/** A file's text; null where there is no such file. */
export async function readOrNull(file: string): Promise<string | null> {
  return await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
}

function asPosix(file: string): string {
  return file.split(path.sep).join('/');
}
