import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { findProblems } from './check.ts';
import { migrationFile } from './migration.ts';
import { compareVersions, readReleases } from './releases.ts';
import { digestOf, readRooms } from './rooms.ts';

const versionForm = /^\d+\.\d+\.\d+$/;

/**
 * Freezes a version: returns the file that it wrote. Raises where the version is released already, is not the one in
 * package.json's place in the order, or where its migration is not what the rooms make; and then writes nothing.
 */
export async function freezeRelease(directory: string, version: string): Promise<string> {
  if (!versionForm.test(version)) throw new Error(`expected a version, e.g. 0.1.0, came ${version}`);
  const releases = await readReleases(directory);
  const last = releases.at(-1)?.version;
  if (last !== undefined && compareVersions(version, last) <= 0) {
    throw new Error(`expected a version after ${last}, which is released, came ${version}`);
  }
  const problems = await findProblems(directory, version);
  if (problems.length > 0)
    throw new Error(`nothing is frozen before this is put right:\n${problems.join('\n')}`);
  const migration = `migrations/${await migrationFile(directory, version)}`;
  const text = await readFile(path.join(directory, migration), 'utf8');
  const lines = [
    `${digestOf(text)}  ${migration}`,
    ...(await readRooms(directory)).map((room) => `${room.digest}  ${room.file}`),
  ];
  const file = `released/${version}.sha256`;
  await mkdir(path.join(directory, 'released'), { recursive: true });
  await writeFile(path.join(directory, file), `${lines.join('\n')}\n`, { flag: 'wx' });
  return file;
}
