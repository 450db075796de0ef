import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { EmbeddedPostgresError } from './errors.ts';

/** The OS user that Postgres runs as; null where it is simply the user of this process. */
export type Account = { name: string; uid: number; gid: number };

/** What a test replaces to stand on another machine. */
export type AccountLookup = { uid: number; find(name: string): Promise<Account | null>; ownName(): string };

export const systemAccounts: AccountLookup = {
  get uid() {
    return process.getuid?.() ?? -1;
  },
  find: findInPasswd,
  ownName: () => userInfo().username,
};

/**
 * Postgres refuses to run as root, and initdb wants a name for its user. So root lends the work to `postgres` or, where
 * there is none, to `nobody`; data that exist already are served by whoever owns them.
 *
 * Takes the look-up and the owner of existing data (null: none yet). Returns null for an ordinary user. Raises
 * `embedded_account` where nobody can be found.
 */
export async function chooseAccount(
  lookup: AccountLookup,
  dataOwner: { uid: number; gid: number } | null,
): Promise<Account | null> {
  if (lookup.uid !== 0) {
    try {
      lookup.ownName();
    } catch (cause) {
      throw new EmbeddedPostgresError(
        'embedded_account',
        `initdb needs a user with a name, and uid ${lookup.uid} has none here. Run as a user that /etc/passwd ` +
          'lists, or set DATABASE_URL.',
        { fields: { uid: lookup.uid }, cause },
      );
    }
    return null;
  }
  if (dataOwner !== null && dataOwner.uid !== 0) return { name: `uid ${dataOwner.uid}`, ...dataOwner };
  const account = (await lookup.find('postgres')) ?? (await lookup.find('nobody'));
  if (account === null || account.uid === 0) {
    throw new EmbeddedPostgresError(
      'embedded_account',
      'Postgres does not run as root, and /etc/passwd lists neither a user postgres nor a user nobody to run it ' +
        'as. Start Rowmill as an ordinary user, or set DATABASE_URL.',
    );
  }
  return account;
}

async function findInPasswd(name: string): Promise<Account | null> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  for (const line of passwd.split('\n')) {
    const [found, , uid, gid] = line.split(':');
    if (found === name) return { name, uid: Number(uid), gid: Number(gid) };
  }
  return null;
}
