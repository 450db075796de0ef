import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../src/embedded/embedded-postgres.ts';
import { freePort } from '../src/embedded/port.ts';
import type { Random } from './random.ts';

// Processes die here and the machine does not, so nothing need reach the disk; but what was committed must have
// reached the kernel.
const settings = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'on',
  max_connections: '200',
  log_lock_waits: 'on',
  log_line_prefix: '%m [%p] %a ',
};

/** A Postgres that can be crashed, and comes back under the same address with the same data. */
export type Database = {
  url: string;
  /** The path of the server's log. */
  log: string;
  /** SIGKILL for one process of the server, whereupon it restarts by itself. False where there was none to kill. */
  killOne(random: Random): Promise<boolean>;
  /** SIGKILL for all of it; started again after so long. */
  killAll(downMs: number): Promise<void>;
  stop(): Promise<void>;
};

/** Starts it below the directory. Whatever it raises, nothing is left running. */
export async function startDatabase(directory: string): Promise<Database> {
  const port = await freePort();
  let server: EmbeddedPostgres = await startEmbeddedPostgres({ directory, port, settings });
  return {
    url: server.url,
    log: server.log,
    async killOne(random) {
      const pids = await childrenOf(server.pid);
      return pids.length > 0 && kill(random.pick(pids));
    },
    async killAll(downMs) {
      const pids = await childrenOf(server.pid);
      await server.kill();
      for (const pid of pids) kill(pid);
      await delay(downMs);
      server = await startEmbeddedPostgres({ directory, port, settings });
    },
    stop: () => server.stop(),
  };
}

/** Processes that the postmaster, which is ours, started. */
async function childrenOf(postmaster: number): Promise<number[]> {
  const text = await readFile(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8').catch(() => null);
  if (text !== null) return text.split(' ').filter(Boolean).map(Number);
  // No Linux, or one that was built without it.
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=']);
  return stdout
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, parent]) => parent === postmaster)
    .map(([pid]) => pid!);
}

/** False where it ended by itself meanwhile. */
function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}
