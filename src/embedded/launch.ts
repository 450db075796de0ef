import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Account } from './account.ts';
import type { Binaries } from './binaries.ts';
import { EmbeddedPostgresError } from './errors.ts';

/** How to start one of the binaries: what comes before it on the command line, and whose process it becomes. */
export type Launch = { prefix: string[]; ids: { uid?: number; gid?: number }; as: string };

/** Nothing of the caller's environment gets in: a PGDATA or an LC_ALL of the shell would change what Postgres does. */
export const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', TZ: 'UTC' };

type Capability = 'dac_read_search' | 'dac_override';
// The bits of /proc/self/status, from linux/capability.h.
const CAPABILITY_BIT: Record<Capability, bigint> = { dac_override: 1n << 1n, dac_read_search: 1n << 2n };

const READ = 0o4;
const EXECUTE = 0o1;

/**
 * Decides how the account reaches the binaries and the data. Mostly it just can. Where the checkout lies below a
 * directory that is closed to it, such as /root, root lends it the one capability that it lacks through setpriv(1):
 * to pass through directories and read, or, where the binaries are executable by root alone or there is nothing
 * smaller to lend, to override permissions. The price: a superuser of that database can then read (or write) files
 * of this machine through SQL. Hence only where it is needed.
 *
 * Takes the account (null: stay who we are), the binaries and the directory of the data. Raises `embedded_unreachable`.
 */
export async function planLaunch(
  account: Account | null,
  binaries: Binaries,
  directory: string,
): Promise<Launch> {
  if (account === null) return { prefix: [], ids: {}, as: 'this user' };
  const { uid, gid, name } = account;
  const needed = await neededCapability(account, binaries, directory);
  if (needed === null) return { prefix: [], ids: { uid, gid }, as: name };
  const lent = availableCapability(needed);
  if (lent === null) throw unreachable(name, binaries.root, directory, 'this root has no capability to lend');
  const launch = { prefix: lendingPrefix(account, lent), ids: {}, as: name };
  verify(launch, binaries, directory);
  return launch;
}

function lendingPrefix({ uid, gid }: Account, lent: Capability): string[] {
  const only = `-all,+${lent}`;
  return [
    'setpriv',
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--clear-groups',
    // Without it access(2), which initdb calls, drops the capabilities of whoever is not root before it looks.
    '--securebits=+no_setuid_fixup',
    `--inh-caps=${only}`,
    `--ambient-caps=${only}`,
    `--bounding-set=${only}`,
    '--no-new-privs',
    '--',
  ];
}

/** Tried out at once, so that a container that forbids it gives one clear error, not a riddle from initdb. */
function verify(launch: Launch, binaries: Binaries, directory: string): void {
  const [file = '', ...args] = [...launch.prefix, binaries.postgres, '--version'];
  const { status, stderr, error } = spawnSync(file, args, { env: ENVIRONMENT, cwd: '/', encoding: 'utf8' });
  if (status === 0) return;
  throw unreachable(launch.as, binaries.root, directory, error?.message ?? stderr.trim());
}

function unreachable(as: string, root: string, directory: string, detail: string): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    'embedded_unreachable',
    `Started as root, Rowmill runs Postgres as the user ${as}, who can reach ${root} and ${directory} only with ` +
      `help from setpriv (util-linux), and that failed: ${detail}. Move the project to where every user may go ` +
      '(such as /srv), start Rowmill as an ordinary user, or set DATABASE_URL.',
    { fields: { account: as, root, directory } },
  );
}

async function neededCapability(
  account: Account,
  binaries: Binaries,
  directory: string,
): Promise<Capability | null> {
  for (const file of [binaries.initdb, binaries.postgres]) {
    if (!(await mayUse(account, file, EXECUTE))) return 'dac_override';
  }
  // One file stands for each folder: an install under a strict umask closes all of them.
  const read = [binaries.postgres, path.join(binaries.root, 'share', 'postgresql', 'postgres.bki')];
  const enter = [directory, path.join(binaries.root, 'bin'), path.join(binaries.root, 'lib')];
  for (const file of read) if (!(await mayUse(account, file, READ))) return 'dac_read_search';
  for (const folder of enter) if (!(await mayPass(account, folder))) return 'dac_read_search';
  return null;
}

async function mayPass(account: Account, folder: string): Promise<boolean> {
  for (let at = await realpath(folder); ; at = path.dirname(at)) {
    if (!(await mayUse(account, at, EXECUTE))) return false;
    if (at === path.dirname(at)) return true;
  }
}

async function mayUse(account: Account, file: string, bit: number): Promise<boolean> {
  const { uid, gid, mode } = await stat(file);
  const shift = uid === account.uid ? 6 : gid === account.gid ? 3 : 0;
  return ((mode >> shift) & bit) !== 0;
}

/** A container's root often has dac_override and not the narrower dac_read_search. */
function availableCapability(needed: Capability): Capability | null {
  const ours = permittedCapabilities();
  const choices: Capability[] =
    needed === 'dac_override' ? ['dac_override'] : ['dac_read_search', 'dac_override'];
  return choices.find((capability) => (ours & CAPABILITY_BIT[capability]) !== 0n) ?? null;
}

function permittedCapabilities(): bigint {
  try {
    const line = readFileSync('/proc/self/status', 'utf8').match(/^CapPrm:\s*([0-9a-f]+)$/m);
    return BigInt(`0x${line?.[1] ?? '0'}`);
  } catch {
    return 0n;
  }
}
