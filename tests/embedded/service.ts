import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { nodeOf } from './places.ts';

export type Report =
  | { url: string; pid: number; dataDirectory: string; code?: never; message?: never }
  | { code: string; message: string; url?: never; pid?: never; dataDirectory?: never };

export type ServiceProcess = {
  pid: number;
  report: Report;
  /** Sends the signal to the service alone, and waits for its end. */
  end(signal: NodeJS.Signals): Promise<void>;
};

const PROJECT = path.join(import.meta.dirname, '../..');

/** Starts a service process on the directory, and waits until it says what became of it. */
export async function startService(
  directory: string,
  options: { project?: string; uid?: number; gid?: number } = {},
): Promise<ServiceProcess> {
  const { project = PROJECT, ...ids } = options;
  const script = path.join(project, 'tests/embedded/service-process.ts');
  const node = project === PROJECT ? process.execPath : nodeOf(project);
  const child = spawn(node, [script, directory], {
    ...ids,
    cwd: '/',
    env: { PATH: '/usr/bin:/bin' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const end = ending(child);
  onTestFinished(() => end('SIGTERM'));
  const lines = createInterface({ input: child.stdout });
  const [line] = await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => {
      throw new Error('the service process ended before it reported');
    }),
  ]);
  return { pid: child.pid!, report: JSON.parse(line) as Report, end };
}

function ending(child: ChildProcess): ServiceProcess['end'] {
  return async (signal) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };
}

/** Fails loudly where a test would go on with a service that did not start. */
export function started(service: ServiceProcess): { url: string; pid: number; dataDirectory: string } {
  const { report } = service;
  if (report.url === undefined) throw new Error(`the service did not start: ${report.message}`);
  return report;
}
