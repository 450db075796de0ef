import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { findProblems } from './check.ts';
import { changesFile, currentVersion, migrationFile } from './migration.ts';
import { compareVersions, readReleases } from './releases.ts';
import { digestOf, readOrNull, readRooms } from './rooms.ts';

/**
 * Freezes a version: returns the file that it wrote. Raises where the version is released already, is not the one that
 * package.json names, or where its migration is not what the rooms make; and then writes nothing.
 */
export async function freezeRelease(directory: string, version: string): Promise<string> {
  const last = (await readReleases(directory)).at(-1)?.version;
  const current = await currentVersion(directory);
  if (last !== undefined && compareVersions(version, last) <= 0) {
    throw new Error(`expected a version after ${last}, which is released, came ${version}`);
  }
  if (version !== current) {
    throw new Error(`expected ${current}, the version in package.json, came ${version}`);
  }
  const problems = await findProblems(directory);
  if (problems.length > 0) {
    throw new Error(`nothing is frozen while there are problems:\n${problems.join('\n')}`);
  }
  const migration = `migrations/${await migrationFile(directory, version)}`;
  const changes = await readOrNull(path.join(directory, changesFile(version)));
  const lines = [
    `${digestOf(await readFile(path.join(directory, migration), 'utf8'))}  ${migration}`,
    ...(changes === null ? [] : [`${digestOf(changes)}  ${changesFile(version)}`]),
    ...(await readRooms(directory)).map((room) => `${room.digest}  ${room.file}`),
  ];
  const file = `released/${version}.sha256`;
  await mkdir(path.join(directory, 'released'), { recursive: true });
  await writeFile(path.join(directory, file), `${lines.join('\n')}\n`, { flag: 'wx' });
  return file;
}
