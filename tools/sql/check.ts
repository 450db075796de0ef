import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { currentVersion, makeMigration, migrationFile } from './migration.ts';
import { type Release, readReleases } from './releases.ts';
import { digestOf, listFolder, readRooms } from './rooms.ts';

/** One sentence for each thing in `migrations/` that is not as the rooms and the releases have it; each says what to do. */
export async function findProblems(directory: string, version?: string): Promise<string[]> {
  const releases = await readReleases(directory);
  const current = version ?? (await currentVersion(directory));
  const problems = await findThawed(directory, releases);
  const last = releases.find((release) => release.version === current);
  if (last) problems.push(...(await findUnreleased(directory, last)));
  else problems.push(...(await findOutdated(directory, current)));

  const known = new Set(releases.flatMap((release) => [...release.digests.keys()]));
  known.add(`migrations/${await migrationFile(directory, current)}`);
  for (const file of await listFolder(path.join(directory, 'migrations'))) {
    if (known.has(`migrations/${file}`)) continue;
    problems.push(
      `migrations/${file} belongs to no version; take it away: edit supabase/schemas/ and run npm run sql`,
    );
  }
  return problems;
}

/** Databases have a released migration as it was. */
async function findThawed(directory: string, releases: Release[]): Promise<string[]> {
  const problems: string[] = [];
  for (const { version, digests } of releases) {
    for (const [file, digest] of digests) {
      if (!file.startsWith('migrations/')) continue;
      const text = await readOrNull(path.join(directory, file));
      if (text !== null && digestOf(text) === digest) continue;
      problems.push(
        `${file} is not what ${version} was released with; put it back: what changes goes into the next version`,
      );
    }
  }
  return problems;
}

async function findUnreleased(directory: string, release: Release): Promise<string[]> {
  const rooms = await readRooms(directory);
  const changed = rooms.filter((room) => release.digests.get(room.file) !== room.digest);
  return changed.map(
    (room) =>
      `${room.file} changed since ${release.version} was released; set the next version in package.json, then run npm run sql`,
  );
}

async function findOutdated(directory: string, version: string): Promise<string[]> {
  const file = `migrations/${await migrationFile(directory, version)}`;
  const expected = await makeMigration(directory, version);
  const came = await readOrNull(path.join(directory, file));
  if (came === null) return [`${file} is not there; run npm run sql`];
  return came === expected
    ? []
    : [
        `${file} is not what supabase/schemas/ makes: it differs from line ${firstDifference(came, expected)} on; run npm run sql`,
      ];
}

function firstDifference(came: string, expected: string): number {
  const lines = expected.split('\n');
  const at = came.split('\n').findIndex((line, index) => line !== lines[index]);
  return (at === -1 ? came.split('\n').length : at) + 1;
}

async function readOrNull(file: string): Promise<string | null> {
  return await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
}
