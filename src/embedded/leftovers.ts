import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { platform } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EmbeddedPostgresError } from './errors.ts';
import { startOf } from './process-identity.ts';
import { CLUSTER_NAME } from './settings.ts';

// Never a pid: Linux stops at 2^22, macOS at 99999.
const NO_PROCESS = 2_147_483_647;
const FAST_SHUTDOWN_MS = 30_000;
const SELF_EXIT_MS = 2_000;
const IMMEDIATE_SHUTDOWN_MS = 10_000;

/**
 * Clears what a killed service left running on its data: its postmaster, which is shut down in an orderly way, or the
 * backends of a postmaster that was killed itself. To be called by the holder of the directory's lock only, so that no
 * live service can be meant.
 *
 * Raises `embedded_foreign_server` for a server that Rowmill did not start (it is left alone), `embedded_stop_failed`
 * when one does not end. A crash in here changes nothing: the next start does it again.
 */
export async function clearLeftovers(dataDirectory: string): Promise<void> {
  const postmaster = await readPostmasterPid(dataDirectory);
  const running = processesOf(dataDirectory);
  if (postmaster !== null && running.includes(postmaster)) {
    const command = commandOf(postmaster);
    // None: it was killed a moment ago, and is on its way out.
    if (command !== '' && !command.includes(`cluster_name=${CLUSTER_NAME}`))
      throw foreign(postmaster, dataDirectory);
    signal(postmaster, 'SIGINT');
    await allGone([postmaster], FAST_SHUTDOWN_MS);
  }
  // Backends notice the death of their postmaster as soon as they wait for anything; one that computes does not.
  await allGone(processesOf(dataDirectory), SELF_EXIT_MS);
  const rest = processesOf(dataDirectory);
  for (const pid of rest) signal(pid, 'SIGQUIT');
  if (!(await allGone(rest, IMMEDIATE_SHUTDOWN_MS))) {
    throw new EmbeddedPostgresError(
      'embedded_stop_failed',
      `A killed service left Postgres running on ${dataDirectory}, and it does not end. End the processes ` +
        `${rest.join(', ')} and start again.`,
      { fields: { pids: rest, dataDirectory } },
    );
  }
  await disarmPostmasterFile(dataDirectory);
}

/**
 * What is still in postmaster.pid names nobody of ours. Should another process have that pid by now, Postgres would
 * refuse to start. The pid alone is replaced: with the rest of the file Postgres still makes sure that no backend is
 * attached to the old shared memory.
 */
async function disarmPostmasterFile(dataDirectory: string): Promise<void> {
  const file = path.join(dataDirectory, 'postmaster.pid');
  const text = await readFile(file, 'utf8').catch(() => null);
  if (text === null) return;
  // An empty file (killed while writing it) would be refused as well.
  const rest = text.split('\n').slice(1).join('\n');
  await writeFile(file, `${NO_PROCESS}\n${rest}`);
}

async function readPostmasterPid(dataDirectory: string): Promise<number | null> {
  const text = await readFile(path.join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  return Number.isSafeInteger(pid) && pid > 0 ? pid : null;
}

/** Every process of a Postgres works in its data directory, which says more than a command line or a pid can. */
function processesOf(dataDirectory: string): number[] {
  if (platform() !== 'linux') return processesByPs(dataDirectory);
  const home = statSync(dataDirectory);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() !== 'postgres') return false;
        const cwd = statSync(`/proc/${pid}/cwd`);
        return cwd.dev === home.dev && cwd.ino === home.ino;
      } catch {
        // Ended meanwhile, or another user's.
        return false;
      }
    })
    .map(Number);
}

function processesByPs(dataDirectory: string): number[] {
  const options = { encoding: 'utf8', env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' } } as const;
  return execFileSync('ps', ['-axww', '-o', 'pid=,command='], options)
    .split('\n')
    .filter((line) => line.includes(`postgres -D ${dataDirectory} `))
    .map((line) => Number.parseInt(line, 10));
}

function commandOf(pid: number): string {
  if (platform() !== 'linux')
    return execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)]).toString();
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Ended meanwhile; whoever does not end is found by waiting.
  }
}

async function allGone(pids: number[], withinMs: number): Promise<boolean> {
  const known = pids.map((pid) => ({ pid, started: startOf(pid) })).filter(({ started }) => started !== null);
  const end = performance.now() + withinMs;
  while (known.some(({ pid, started }) => startOf(pid) === started)) {
    if (performance.now() > end) return false;
    await delay(20);
  }
  return true;
}

function foreign(pid: number, dataDirectory: string): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    'embedded_foreign_server',
    `A Postgres that Rowmill did not start (pid ${pid}) runs on ${dataDirectory}. Stop it, or set DATABASE_URL ` +
      'to use it.',
    { fields: { pid, dataDirectory } },
  );
}
