import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

export const root = path.join(import.meta.dirname, '..');
const timeoutMs = 300_000;
// What /proc counts in, on every Linux that Node runs on.
const ticksPerSecond = 100;

/** A worker as `npm start` has it. */
export function startWorker(env: Record<string, string>): ChildProcess {
  return spawn(process.execPath, ['--optimize-for-size', path.join(root, 'src/server.ts')], {
    env: {
      PATH: process.env.PATH,
      OPENAI_API_KEY: 'bench',
      PORT: '0',
      LOG_LEVEL: 'warn',
      ...env,
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

export const everySecond = { ROWMILL_TICK_CRON: '* * * * * *', ROWMILL_POLL_CRON: '* * * * * *' };

export async function until(look: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await look())) {
    if (performance.now() > deadline) throw new Error(`not done within ${timeoutMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The kernel's high-water mark of resident memory, in MB of 10^6 bytes; NaN where there is no /proc. */
export async function peakMemory(child: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
  return (Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) * 1024) / 1e6;
}

/** Seconds of a core that a process has used, all its threads together; NaN where there is no /proc. */
export async function cpuSeconds(child: ChildProcess): Promise<number> {
  const stat = await readFile(`/proc/${child.pid}/stat`, 'utf8').catch(() => '');
  // The second field, a name in parentheses, may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}
