import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { currentVersion, makeMigration, migrationFile } from './migration.ts';
import { compareVersions, readReleases } from './releases.ts';

/** Writes the migration of the version in package.json; returns its file. Raises where it is released, or a later one is. */
export async function writeMigration(directory: string): Promise<string> {
  const version = await currentVersion(directory);
  const last = (await readReleases(directory)).at(-1)?.version;
  if (last !== undefined && compareVersions(version, last) <= 0) {
    throw new Error(
      `${last} is released and does not change; set a later version in package.json than ${version}`,
    );
  }
  const file = `migrations/${await migrationFile(directory, version)}`;
  const text = await makeMigration(directory, version);
  await mkdir(path.join(directory, 'migrations'), { recursive: true });
  await writeFile(path.join(directory, file), text);
  return file;
}
