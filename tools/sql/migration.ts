import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { compareVersions, type Release, readReleases } from './releases.ts';
import { listFolder, type Room, readOrNull, readRooms } from './rooms.ts';

/** A function that was replaced has lost its statement_timeout, one that was dropped and created its grants as well. */
const rights = 'schemas/99_rights.sql';

/** The version that package.json names; the one that is being made, unless it is released. */
export async function currentVersion(directory: string): Promise<string> {
  const { version } = JSON.parse(await readFile(path.join(directory, '../package.json'), 'utf8')) as {
    version: string;
  };
  if (/^\d+\.\d+\.\d+$/.test(version)) return version;
  throw new Error(
    `expected the version in package.json to be like 0.1.0, came ${version}: migrations are named and ordered by it`,
  );
}

/**
 * The name of a version's migration: the one that is there, else one of today. Two versions of one day differ by a second,
 * since a database knows a migration by its timestamp alone.
 */
export async function migrationFile(directory: string, version: string): Promise<string> {
  const name = `rowmill_${version.replaceAll('.', '_')}.sql`;
  const files = await listFolder(path.join(directory, 'migrations'));
  const found = files.find((file) => file.replace(/^\d+_/, '') === name && file !== name);
  if (found) return found;
  const today = Number(`${new Date().toISOString().slice(0, 10).replaceAll('-', '')}000000`);
  const timestamps = files.map((file) => Number(/^\d+(?=_)/.exec(file)?.[0] ?? 0));
  return `${Math.max(today, ...timestamps.map((timestamp) => timestamp + 1))}_${name}`;
}

/** What a person writes for a version's migration: nothing for the first one, whose rooms are all there is. */
export function changesFile(version: string): string {
  return `changes/${version}.sql`;
}

/** The newest release that a version comes after; undefined for the first version. */
export function releaseBefore(releases: Release[], version: string): Release | undefined {
  return releases.findLast((release) => compareVersions(release.version, version) < 0);
}

/**
 * The text of a version's migration. The first version's is every room. A later one's is `changes/<version>.sql`, written
 * by hand (tables, types, drops, data), then each function and view that is new or changed since the release before. Raises
 * where a change needs a statement by hand, and `changes/` does not name what changed.
 */
export async function makeMigration(directory: string, version: string): Promise<string> {
  const rooms = await readRooms(directory);
  const before = releaseBefore(await readReleases(directory), version);
  const parts = before
    ? await changedSince(directory, version, before, rooms)
    : rooms.map((room) => room.text);
  return [
    `-- Rowmill ${version}. Generated from supabase/schemas/ by npm run sql: edit a file there and run it again.`,
    '-- The order of the functions is that of their names, so their bodies are looked at when they run.',
    'set check_function_bodies = off;',
    '-- What views, checks and indexes name is found by it, for good: nobody else may have put something before it.',
    'set search_path = pg_catalog, pg_temp;',
    '',
    ...parts,
    'reset search_path;',
    'reset check_function_bodies;',
    '',
  ].join('\n');
}

async function changedSince(
  directory: string,
  version: string,
  before: Release,
  rooms: Room[],
): Promise<string[]> {
  const changed = findChanged(before, rooms);
  const file = changesFile(version);
  const byHand = await readOrNull(path.join(directory, file));
  const unnamed = [
    ...changed.filter((room) => !room.isRepeatable).map((room) => room.file),
    ...findRemoved(before, rooms),
  ].filter((name) => !new RegExp(`\\b${nameOf(name)}\\b`).test(byHand ?? ''));
  if (unnamed.length > 0) {
    throw new Error(
      `new, changed or removed since ${before.version}, and not named in supabase/${file}: ${unnamed.join(', ')}; write there by hand what a database of ${before.version} needs`,
    );
  }
  return [
    ...(byHand === null ? [] : [byHand]),
    ...changed.filter((room) => room.isRepeatable && room.file !== rights).map((room) => room.text),
    ...rooms.filter((room) => room.file === rights).map((room) => room.text),
  ];
}

/** What SQL calls the thing that a room makes, as a regular expression. */
function nameOf(room: string): string {
  return room === 'schemas/00_schema.sql'
    ? String.raw`schema\s+rowmill`
    : String.raw`rowmill\.${path.basename(room, '.sql')}`;
}

/** The rooms that are not as a release had them, or that it had not. */
export function findChanged(release: Release, rooms: Room[]): Room[] {
  return rooms.filter((room) => release.digests.get(room.file) !== room.digest);
}

/** The rooms that a release had and that are no longer there. */
export function findRemoved(release: Release, rooms: Room[]): string[] {
  return [...release.digests.keys()].filter(
    (file) => file.startsWith('schemas/') && !rooms.some((room) => room.file === file),
  );
}
