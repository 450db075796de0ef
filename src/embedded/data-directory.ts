import { randomBytes } from 'node:crypto';
import {
  chown,
  lchown,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import type { Account } from './account.ts';
import { type Binaries, EMBEDDED_MAJOR_VERSION } from './binaries.ts';
import { EmbeddedPostgresError } from './errors.ts';
import type { Launch } from './launch.ts';
import { run } from './run.ts';

const PASSWORD_FILE = 'rowmill.password';
const UNFINISHED = 'data.init-';

/** Takes the place where data would be; returns their owner, or null where there are none yet. */
export async function dataOwner(dataDirectory: string): Promise<{ uid: number; gid: number } | null> {
  const found = await stat(dataDirectory).catch(() => null);
  return found === null ? null : { uid: found.uid, gid: found.gid };
}

/**
 * Sees to it that there is a finished data directory of our version, and returns the superuser's password.
 *
 * A new one is made beside its place and renamed into it with the password inside, so it exists whole or not at all:
 * what a crash leaves is thrown away by the next start. Raises `embedded_version`, `embedded_damaged` or
 * `embedded_init_failed`; existing data are never removed.
 */
export async function prepareData(
  place: { home: string; dataDirectory: string; sync: boolean },
  how: { account: Account | null; launch: Launch; binaries: Binaries },
): Promise<string> {
  const { home, dataDirectory } = place;
  for (const name of await readdir(home)) {
    // An initdb that outlived its service may still be writing there.
    if (name.startsWith(UNFINISHED))
      await rm(path.join(home, name), { recursive: true, force: true, maxRetries: 20 });
  }
  // Only an empty one can be removed; that is nobody's data.
  await rmdir(dataDirectory).catch(() => undefined);
  if ((await dataOwner(dataDirectory)) === null) await initialise(place, how);
  await checkVersion(dataDirectory);
  if (how.account !== null) await giveToAccount(dataDirectory, how.account);
  return readFile(path.join(dataDirectory, PASSWORD_FILE), 'utf8').catch((cause: unknown) => {
    throw damaged(dataDirectory, PASSWORD_FILE, cause);
  });
}

async function initialise(
  { home, dataDirectory, sync }: { home: string; dataDirectory: string; sync: boolean },
  { account, launch, binaries }: { account: Account | null; launch: Launch; binaries: Binaries },
): Promise<void> {
  const unfinished = path.join(home, `${UNFINISHED}${randomBytes(6).toString('hex')}`);
  const passwordFile = `${unfinished}.password`;
  await mkdir(unfinished, { mode: 0o700 });
  await writeFile(passwordFile, randomBytes(24).toString('hex'), { mode: 0o600, flag: 'wx' });
  if (account !== null) {
    await chown(unfinished, account.uid, account.gid);
    await chown(passwordFile, account.uid, account.gid);
  }
  const child = await run(launch, {
    file: binaries.initdb,
    args: [
      `--pgdata=${unfinished}`,
      '--username=postgres',
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      // Postgres brings this one along, so it is the same on every system, with or without locales installed.
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--locale=C',
      '--no-instructions',
      ...(sync ? [] : ['--no-sync']),
    ],
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  const [, complaint, outcome] = await Promise.all([text(child.stdout!), text(child.stderr!), closed]);
  if (outcome !== 0) {
    throw new EmbeddedPostgresError(
      'embedded_init_failed',
      `initdb should have made ${dataDirectory}, and ended with ${outcome}:\n${complaint.trim()}\n` +
        'Mend what it names and start again, or set DATABASE_URL.',
      { fields: { dataDirectory, outcome, account: launch.as } },
    );
  }
  await rename(passwordFile, path.join(unfinished, PASSWORD_FILE));
  if (sync) await syncDirectory(unfinished);
  await rename(unfinished, dataDirectory);
  if (sync) await syncDirectory(home);
}

/** A rename is only as durable as the directory that records it. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  await handle.sync().finally(() => handle.close());
}

async function checkVersion(dataDirectory: string): Promise<void> {
  const version = await readFile(path.join(dataDirectory, 'PG_VERSION'), 'utf8').catch((cause: unknown) => {
    throw damaged(dataDirectory, 'PG_VERSION', cause);
  });
  if (version.trim() === EMBEDDED_MAJOR_VERSION) return;
  throw new EmbeddedPostgresError(
    'embedded_version',
    `${dataDirectory} was written by Postgres ${version.trim()}; the embedded one is ${EMBEDDED_MAJOR_VERSION} and ` +
      'cannot read it. Dump the data with the old version (pg_dump) and load them into a new directory, or set ' +
      'DATABASE_URL to a server of the old version.',
    { fields: { dataDirectory, found: version.trim(), expected: EMBEDDED_MAJOR_VERSION } },
  );
}

/** Data that root copied here belong to root, whom Postgres does not serve; a link is changed, not what it shows. */
async function giveToAccount(dataDirectory: string, { uid, gid }: Account): Promise<void> {
  if ((await stat(dataDirectory)).uid === uid) return;
  for (const name of await readdir(dataDirectory, { recursive: true })) {
    await lchown(path.join(dataDirectory, name), uid, gid);
  }
  // Last: its owner tells the next start whether this was finished.
  await chown(dataDirectory, uid, gid);
}

function damaged(dataDirectory: string, missing: string, cause: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    'embedded_damaged',
    `${dataDirectory} should hold the data of an embedded Postgres, and has no readable ${missing}. Restore it from ` +
      'a backup; or, if the data do not matter, move the directory away and start again.',
    { fields: { dataDirectory, missing }, cause },
  );
}
