import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { compareVersions, type Release, readReleases } from './releases.ts';
import { listFolder, type Room, readRooms } from './rooms.ts';

/** The room that gives workers their functions back: what is made again has lost its grants. */
const rights = 'schemas/99_rights.sql';

/** The version that package.json names; the one that is being made, unless it is released. */
export async function currentVersion(directory: string): Promise<string> {
  const text = await readFile(path.join(directory, '../package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** The name of a version's migration: the one that is there, else one of today. */
export async function migrationFile(directory: string, version: string): Promise<string> {
  const name = `rowmill_${version.replaceAll('.', '_')}.sql`;
  const files = await listFolder(path.join(directory, 'migrations'));
  const found = files.find((file) => /^\d+_/.test(file) && file.replace(/^\d+_/, '') === name);
  return found ?? `${new Date().toISOString().slice(0, 10).replaceAll('-', '')}000000_${name}`;
}

/**
 * The text of a version's migration. The first version's is every room. A later one's is `changes/<version>.sql`, written
 * by hand (tables, types, drops, data), and each other room that changed since the release before. Raises where a change
 * needs a hand that `changes/` does not show.
 */
export async function makeMigration(directory: string, version: string): Promise<string> {
  const rooms = await readRooms(directory);
  const releases = await readReleases(directory);
  const before = releases.filter((release) => compareVersions(release.version, version) < 0).at(-1);
  const parts = before
    ? await changedSince(directory, version, before, rooms)
    : rooms.map((room) => room.text);
  return [
    `-- Rowmill ${version}. Generated from supabase/schemas/ by npm run sql: edit a file there and run it again.`,
    '-- The order of the functions is that of their names, so their bodies are looked at when they run.',
    'set check_function_bodies = off;',
    '',
    ...parts,
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
  const changed = rooms.filter((room) => before.digests.get(room.file) !== room.digest);
  const file = `changes/${version}.sql`;
  const byHand = await readFile(path.join(directory, file), 'utf8').catch(() => '');
  const unwritten = [
    ...changed.filter((room) => !room.isRepeatable).map((room) => room.file),
    ...[...before.digests.keys()].filter(
      (name) => name.startsWith('schemas/') && !rooms.some((room) => room.file === name),
    ),
  ].filter((name) => !new RegExp(`\\browmill\\.${path.basename(name, '.sql')}\\b`).test(byHand));
  if (unwritten.length > 0) {
    throw new Error(
      `changed or gone since ${before.version}, and ${file} names none of it: ${unwritten.join(', ')}; write there by hand what a database of ${before.version} needs`,
    );
  }
  const again = changed.filter((room) => room.isRepeatable && room.file !== rights);
  return [
    byHand,
    ...again.map((room) => room.text),
    ...rooms.filter((room) => room.file === rights).map((room) => room.text),
  ];
}
