import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';
import { freePort } from '../../src/embedded/port.ts';

const root = '/usr/lib/postgresql/15';

export type DebianPostgres = {
  /** The superuser's, of the database `postgres`. */
  url: string;
  /** What the server wrote. */
  log(): Promise<string>;
  stop(): Promise<void>;
};

/** Why there is no such server here, in words; null where there is one with all these libraries. */
export function whyNoDebianPostgres(libraries: string[]): string | null {
  if (!existsSync(`${root}/bin/initdb`)) return 'Debian’s postgresql-15 is not installed';
  const missing = libraries.filter((name) => !existsSync(`${root}/lib/${name}.so`));
  return missing.length === 0 ? null : `Debian’s PostgreSQL 15 has no ${missing.join(', ')}`;
}

/** A server of the test's own from Debian's PostgreSQL 15, whose extensions the embedded one does not have. */
export async function startDebianPostgres(settings: Record<string, string>): Promise<DebianPostgres> {
  const directory = await mkdtemp(path.join(tmpdir(), 'rowmill-debian-'));
  const isRoot = userInfo().uid === 0;
  const as = (command: string, args: string[]) => {
    const [program, all] = isRoot
      ? ['runuser', ['-u', 'postgres', '--', `${root}/bin/${command}`, ...args]]
      : [`${root}/bin/${command}`, args];
    const { status, stderr } = spawnSync(program, all, {
      cwd: '/',
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr}`);
  };
  if (isRoot) {
    const id = spawnSync('id', ['-u', 'postgres'], { encoding: 'utf8' }).stdout.trim();
    await chown(directory, Number(id), -1);
  }
  const data = path.join(directory, 'data');
  const log = path.join(directory, 'log');
  const port = await freePort();
  as('initdb', ['-D', data, '-U', 'admin', '-A', 'trust', '--locale=C.UTF-8']);
  const all = { listen_addresses: '127.0.0.1', fsync: 'off', ...settings };
  const options = Object.entries(all).map(([name, value]) => `-c ${name}=${value}`);
  as('pg_ctl', ['-D', data, '-w', '-l', log, '-o', `-p ${port} -k '' ${options.join(' ')}`, 'start']);
  return {
    url: `postgres://admin@127.0.0.1:${port}/postgres`,
    log: () => readFile(log, 'utf8'),
    async stop() {
      as('pg_ctl', ['-D', data, '-m', 'immediate', 'stop']);
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
