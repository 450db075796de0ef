import path from 'node:path';
import {
  changesFile,
  currentVersion,
  findChanged,
  findRemoved,
  makeMigration,
  migrationFile,
  releaseBefore,
} from './migration.ts';
import { compareVersions, type Release, readReleases } from './releases.ts';
import { digestOf, listFolder, readOrNull, readRooms } from './rooms.ts';

/**
 * One sentence for each thing in `migrations/` and `changes/` that is not as the rooms and the releases have it; each says
 * what to do. Raises where no migration can be made of the rooms.
 */
export async function findProblems(directory: string): Promise<string[]> {
  const releases = await readReleases(directory);
  const version = await currentVersion(directory);
  return [
    ...(await findUnfrozen(directory, releases)),
    ...(await findUnknown(directory, releases, version)),
    ...(await findOutdated(directory, releases, version)),
  ];
}

/** Databases have a released migration as it was. */
async function findUnfrozen(directory: string, releases: Release[]): Promise<string[]> {
  const problems: string[] = [];
  for (const { version, digests } of releases) {
    for (const [file, digest] of digests) {
      if (file.startsWith('schemas/')) continue;
      const text = await readOrNull(path.join(directory, file));
      if (text !== null && digestOf(text) === digest) continue;
      problems.push(
        `${file} is not what ${version} was released with; put it back: what changes goes into the next version`,
      );
    }
  }
  return problems;
}

async function findUnknown(directory: string, releases: Release[], version: string): Promise<string[]> {
  const known = new Set(releases.flatMap((release) => [...release.digests.keys()]));
  const isReleased = releases.some((release) => release.version === version);
  known.add(`migrations/${await migrationFile(directory, version)}`);
  if (!isReleased && releaseBefore(releases, version)) known.add(changesFile(version));
  const isUnknown = (file: string) => !known.has(file);
  const list = async (folder: string) =>
    (await listFolder(path.join(directory, folder))).map((file) => `${folder}/${file}`).filter(isUnknown);
  return [
    ...(await list('migrations')).map(
      (file) =>
        `${file} belongs to no version; take it away: edit supabase/schemas/, and npm run sql makes the migration`,
    ),
    ...(await list('changes')).map(
      (file) => `${file} is in no migration; name it after the version that is being made, or take it away`,
    ),
  ];
}

async function findOutdated(directory: string, releases: Release[], version: string): Promise<string[]> {
  const last = releases.at(-1);
  if (last && compareVersions(version, last.version) < 0) {
    return [`package.json says ${version}, and ${last.version} is released; set a later version there`];
  }
  if (last?.version === version) return await findChangedSince(directory, last);
  const file = `migrations/${await migrationFile(directory, version)}`;
  const expected = await makeMigration(directory, version);
  const found = await readOrNull(path.join(directory, file));
  if (found === null) return [`${file} is not there; run npm run sql`];
  if (found === expected) return [];
  return [
    `${file} is not what supabase/schemas/ makes: it differs from line ${firstDifference(found, expected)} on; run npm run sql`,
  ];
}

async function findChangedSince(directory: string, release: Release): Promise<string[]> {
  const rooms = await readRooms(directory);
  return [...findChanged(release, rooms).map((room) => room.file), ...findRemoved(release, rooms)].map(
    (file) =>
      `${file} changed since ${release.version} was released; set the next version in package.json, then run npm run sql`,
  );
}

function firstDifference(found: string, expected: string): number {
  const [foundLines, expectedLines] = [found.split('\n'), expected.split('\n')];
  const at = foundLines.findIndex((line, index) => line !== expectedLines[index]);
  return (at === -1 ? foundLines.length : at) + 1;
}
