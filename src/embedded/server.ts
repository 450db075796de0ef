import type { ChildProcess } from 'node:child_process';
import { open, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Binaries } from './binaries.ts';
import { EmbeddedPostgresError } from './errors.ts';
import type { Launch } from './launch.ts';
import { run } from './run.ts';
import { settingArguments } from './settings.ts';

/** A running postmaster, child of this process. */
export type Server = {
  pid: number;
  exited: Promise<string>;
  /** Orderly, and harder if that takes too long; returns when it has ended. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash; its backends may outlive it for a moment. */
  kill(): Promise<void>;
};

export type ServerOptions = {
  launch: Launch;
  binaries: Binaries;
  dataDirectory: string;
  log: string;
  port: number;
  settings: Record<string, string>;
};

// Recovery after a crash reads back at most about max_wal_size, which takes seconds; slow disks exist.
const READY_MS = 300_000;
const FAST_SHUTDOWN_MS = 30_000;
const IMMEDIATE_SHUTDOWN_MS = 10_000;

/**
 * Starts the postmaster and waits until it takes connections. Raises `embedded_start_failed` with the end of its log;
 * nothing is left running then. Should this process die, the postmaster lives on until the next start clears it away.
 */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { dataDirectory, log, launch, binaries } = options;
  // Opened here and handed down: the user that Postgres runs as need not be able to write in our directory, and the
  // log goes on when this process is killed.
  const file = await open(log, 'a', 0o600);
  const logStart = (await file.stat()).size;
  const child = await run(launch, {
    file: binaries.postgres,
    args: ['-D', dataDirectory, ...settingArguments(options.port, options.settings)],
    stdio: ['ignore', file.fd, file.fd],
    // Ctrl-C in a terminal goes to the whole process group; the service must be able to finish its work first.
    detached: true,
  }).finally(() => file.close());
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  const server = { pid: child.pid!, exited, ...endings(child, exited, dataDirectory) };
  const outcome = await Promise.race([exited, untilReady(child.pid!, dataDirectory, exited)]);
  if (outcome === 'ready') return server;
  if (outcome === 'slow') await server.stop();
  throw new EmbeddedPostgresError(
    'embedded_start_failed',
    `Postgres should have taken connections on 127.0.0.1:${options.port}, and ${
      outcome === 'slow' ? `was not ready within ${READY_MS / 1000} seconds` : `ended with ${outcome}`
    }:\n${await since(log, logStart)}\nMend what it names and start again, or set DATABASE_URL.`,
    { fields: { dataDirectory, port: options.port, outcome, log } },
  );
}

/** The last line of postmaster.pid is how pg_ctl learns it, too: a state, written by the postmaster itself. */
async function untilReady(
  pid: number,
  dataDirectory: string,
  exited: Promise<string>,
): Promise<'ready' | 'slow' | ''> {
  let ended = false;
  void exited.then(() => {
    ended = true;
  });
  const end = performance.now() + READY_MS;
  while (!ended && performance.now() < end) {
    const lines = (await readFile(path.join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '')).split(
      '\n',
    );
    if (lines[0] === String(pid) && lines[7]?.trim() === 'ready') return 'ready';
    await delay(20);
  }
  return ended ? '' : 'slow';
}

function endings(
  child: ChildProcess,
  exited: Promise<string>,
  dataDirectory: string,
): Pick<Server, 'stop' | 'kill'> {
  // A process that ends without calling stop() must not leave its server behind.
  const atExit = () => void child.kill('SIGINT');
  process.once('exit', atExit);
  void exited.then(() => process.off('exit', atExit));
  // Nor should the server keep a process alive that has nothing else to do.
  child.unref();

  async function endWith(signal: NodeJS.Signals, withinMs: number): Promise<boolean> {
    child.ref();
    child.kill(signal);
    const patience = new AbortController();
    const slow = delay(withinMs, false, { signal: patience.signal }).catch(() => false);
    const gone = await Promise.race([exited.then(() => true), slow]);
    patience.abort();
    return gone;
  }
  return {
    async stop() {
      if (await endWith('SIGINT', FAST_SHUTDOWN_MS)) return;
      if (await endWith('SIGQUIT', IMMEDIATE_SHUTDOWN_MS)) return;
      throw new EmbeddedPostgresError(
        'embedded_stop_failed',
        `Postgres (pid ${child.pid}) on ${dataDirectory} should have shut down, and did not. End it by hand.`,
        { fields: { pid: child.pid, dataDirectory } },
      );
    },
    async kill() {
      await endWith('SIGKILL', IMMEDIATE_SHUTDOWN_MS);
    },
  };
}

async function since(log: string, start: number): Promise<string> {
  const size = await stat(log).then(
    (found) => found.size,
    () => start,
  );
  const text = (await readFile(log).catch(() => Buffer.alloc(0))).subarray(Math.max(start, size - 4_000));
  return text.toString('utf8').trim() || '(it logged nothing)';
}
