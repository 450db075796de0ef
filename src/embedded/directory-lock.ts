import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { EmbeddedPostgresError } from './errors.ts';
import { startOf } from './process-identity.ts';

export type DirectoryLock = { release(): void };
type Owner = { pid: number; started: string };

const SQLITE_BUSY = 5;

/**
 * Makes this process the only owner of the directory; two that try at the same instant get one winner.
 *
 * The lock is the kernel's, held through an exclusive SQLite transaction, since Node has no flock: however its holder
 * dies, it is free at once, and there is no stale lock to break (where two breakers could both win). The owner file
 * beside it names the holder by pid and start time. It guards as well where somebody deleted the lock file, and a
 * reused pid does not fool it. Not covered: two machines or containers that share the directory over a network file
 * system without locks.
 *
 * Returns the lock. Raises `embedded_in_use`, having touched nothing. After a crash the next call simply succeeds.
 */
export function lockDirectory(directory: string): DirectoryLock {
  const lockFile = path.join(directory, 'lock');
  const ownerFile = path.join(directory, 'owner.json');
  const database = new DatabaseSync(lockFile);
  try {
    // Nothing is ever written, so no journal is needed that a crash could leave behind.
    database.exec('pragma journal_mode = off; begin exclusive');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    throw inUse(directory, readOwner(ownerFile));
  }
  const previous = readOwner(ownerFile);
  if (previous !== null && previous.pid !== process.pid && startOf(previous.pid) === previous.started) {
    database.close();
    throw inUse(directory, previous);
  }
  chmodSync(lockFile, 0o600);
  writeOwner(ownerFile);
  return {
    release() {
      if (!database.isOpen) return;
      rmSync(ownerFile, { force: true });
      database.close();
    },
  };
}

function writeOwner(file: string): void {
  const owner: Owner = { pid: process.pid, started: startOf(process.pid) ?? 'unknown' };
  // Renamed into place: whoever is refused meanwhile reads the old owner or the new one, never half a file.
  writeFileSync(`${file}.new`, `${JSON.stringify(owner)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

function readOwner(file: string): Owner | null {
  try {
    const owner = JSON.parse(readFileSync(file, 'utf8')) as Partial<Owner> | null;
    if (typeof owner?.pid !== 'number' || typeof owner.started !== 'string') return null;
    return { pid: owner.pid, started: owner.started };
  } catch {
    return null;
  }
}

function inUse(directory: string, owner: Owner | null): EmbeddedPostgresError {
  const who = owner === null ? 'another Rowmill service' : `the Rowmill service with pid ${owner.pid}`;
  return new EmbeddedPostgresError(
    'embedded_in_use',
    `The embedded Postgres in ${directory} belongs to ${who}, which is running. Stop that one, run this one ` +
      'in another directory, or set DATABASE_URL so that both share one database.',
    { fields: { directory, pid: owner?.pid ?? null } },
  );
}
