import { access, constants, mkdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../errors.ts';
import { type AccountLookup, chooseAccount, systemAccounts } from './account.ts';
import { findBinaries } from './binaries.ts';
import { dataOwner, prepareData } from './data-directory.ts';
import { lockDirectory } from './directory-lock.ts';
import { EmbeddedPostgresError } from './errors.ts';
import { planLaunch } from './launch.ts';
import { clearLeftovers } from './leftovers.ts';
import { freePort, isTaken } from './port.ts';
import { type Server, type ServerOptions, startServer } from './server.ts';

export type EmbeddedPostgres = {
  /** postgres://postgres:…@127.0.0.1:port/postgres; it holds the password, so it belongs in no log. */
  url: string;
  port: number;
  /** Of the postmaster. */
  pid: number;
  dataDirectory: string;
  /** The path of the server's log. */
  log: string;
  /** Shuts the server down in an orderly way and frees the directory; a second call waits for the first. */
  stop(): Promise<void>;
  /** Ends the postmaster as a crash would, and frees the directory. For tests. */
  kill(): Promise<void>;
};

export type EmbeddedOptions = {
  /** Everything is kept in the folder `postgres` below it; created where it is missing. */
  directory: string;
  /** A port of 127.0.0.1 that must be free; without it, any free one. */
  port?: number;
  /** Server settings that win over ours, such as `{ fsync: 'off' }`. */
  settings?: Record<string, string>;
  logger?: { info(fields: object, message: string): void; error(fields: object, message: string): void };
};

/** What a test replaces. */
export type Surroundings = { accounts: AccountLookup; pickPort: () => Promise<number> };

const PORT_ATTEMPTS = 5;

/**
 * Starts the embedded Postgres 18 on data that persist under the directory, reachable on 127.0.0.1 with a password.
 *
 * Only one process at a time owns a directory; a second one is refused and touches nothing. Call `stop()` on SIGTERM.
 * If this process is killed, the server lives on until the next start here finds it, shuts it down and starts afresh;
 * committed data are safe either way. Raises EmbeddedPostgresError; whatever it raises, nothing is left running and
 * the directory is free.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedOptions,
  surroundings: Partial<Surroundings> = {},
): Promise<EmbeddedPostgres> {
  const binaries = await findBinaries();
  const home = await ownHome(options.directory);
  const dataDirectory = path.join(home, 'data');
  const log = path.join(home, 'server.log');
  const settings = options.settings ?? {};
  const lock = lockDirectory(home);
  try {
    const account = await chooseAccount(
      surroundings.accounts ?? systemAccounts,
      await dataOwner(dataDirectory),
    );
    const launch = await planLaunch(account, binaries, home);
    if (await dataOwner(dataDirectory)) await clearLeftovers(dataDirectory);
    const sync = settings.fsync !== 'off';
    const password = await prepareData({ home, dataDirectory, sync }, { account, launch, binaries });
    const base = { launch, binaries, dataDirectory, log, settings };
    const { server, port } = await startOnPort(base, options.port, surroundings.pickPort ?? freePort);
    try {
      const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
      const running = { url, port, pid: server.pid, dataDirectory, log };
      options.logger?.info(
        { port, pid: server.pid, dataDirectory, as: launch.as },
        'embedded Postgres is up',
      );
      return { ...running, ...endings(server, lock, options.logger) };
    } catch (error) {
      await server.stop();
      throw error;
    }
  } catch (error) {
    lock.release();
    throw error;
  }
}

function endings(
  server: Server,
  lock: { release(): void },
  logger: EmbeddedOptions['logger'],
): Pick<EmbeddedPostgres, 'stop' | 'kill'> {
  let ending: Promise<void> | null = null;
  void server.exited.then((how) => {
    if (ending === null) logger?.error({ pid: server.pid, how }, 'embedded Postgres ended unasked');
  });
  // The lock is kept while a server that would not stop is still there.
  const end = (by: () => Promise<void>) => {
    ending ??= by().then(() => lock.release());
    return ending;
  };
  return { stop: () => end(server.stop), kill: () => end(server.kill) };
}

/** The folder that is ours alone. Open to pass through, since Postgres may run as another user; its files are not. */
async function ownHome(directory: string): Promise<string> {
  const wanted = path.resolve(directory, 'postgres');
  try {
    await mkdir(path.dirname(wanted), { recursive: true });
    await mkdir(wanted, { recursive: true, mode: 0o711 });
    await access(wanted, constants.R_OK | constants.W_OK | constants.X_OK);
    return await realpath(wanted);
  } catch (cause) {
    throw new EmbeddedPostgresError(
      'embedded_not_writable',
      `${wanted} should hold the data of the embedded Postgres, and this user cannot write there: ` +
        `${messageOf(cause)}. Start Rowmill as the user that owns it, use ` +
        'another directory, or set DATABASE_URL.',
      { fields: { directory: wanted }, cause },
    );
  }
}

/** Between picking a port and binding it, anybody may take it; then another one is picked. */
async function startOnPort(
  base: Omit<ServerOptions, 'port'>,
  wanted: number | undefined,
  pickPort: () => Promise<number>,
): Promise<{ server: Server; port: number }> {
  for (let attempt = 1; ; attempt += 1) {
    const port = wanted ?? (await pickPort());
    if (wanted !== undefined && (await isTaken(port))) throw portTaken(port);
    try {
      return { server: await startServer({ ...base, port }), port };
    } catch (error) {
      if (!(await isTaken(port))) throw error;
      if (wanted !== undefined || attempt === PORT_ATTEMPTS) throw portTaken(port, error);
    }
  }
}

function portTaken(port: number, cause?: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    'embedded_port_taken',
    `The embedded Postgres should listen on 127.0.0.1:${port}, and that port is taken. Free it, ask for another ` +
      'one or for none in particular, or set DATABASE_URL.',
    { fields: { port }, cause },
  );
}
