import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { currentVersion, makeMigration, migrationFile } from './migration.ts';
import { readReleases } from './releases.ts';

/** Writes the migration of the version in package.json; returns its file. Raises where that version is released. */
export async function writeMigration(directory: string): Promise<string> {
  const version = await currentVersion(directory);
  if ((await readReleases(directory)).some((release) => release.version === version)) {
    throw new Error(`${version} is released and does not change; set the next version in package.json first`);
  }
  const file = `migrations/${await migrationFile(directory, version)}`;
  const text = await makeMigration(directory, version);
  await mkdir(path.join(directory, 'migrations'), { recursive: true });
  await writeFile(path.join(directory, file), text);
  return file;
}
