import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { waitFor } from './service.ts';

const server = path.join(import.meta.dirname, '../../src/server.ts');

export type LogLine = { msg: string; url?: string; chunk?: number; batch?: number; level: number };

export type WorkerProcess = {
  child: ChildProcess;
  /** The log so far. */
  lines: LogLine[];
  output: { out: string; error: string };
  /** Resolves with the first line that contains the text; rejects where the process leaves without it. */
  logged(text: string): Promise<LogLine>;
  /** Resolves with the exit code. */
  exited(): Promise<number | null>;
  /** Ends it, if it still runs. */
  kill(): Promise<void>;
};

/** A worker in a process of its own, as `npm start` has it, that looks every second. */
export function startWorkerProcess(env: Record<string, string>, args: string[] = []): WorkerProcess {
  const child = spawn(process.execPath, ['--optimize-for-size', server, ...args], {
    env: {
      PATH: process.env.PATH,
      OPENAI_API_KEY: 'test',
      PORT: '0',
      ROWMILL_TICK_CRON: '* * * * * *',
      ROWMILL_POLL_CRON: '* * * * * *',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // Not its exit: what it said last may be on its way still.
  const exit = once(child, 'close');
  const lines: LogLine[] = [];
  const output = { out: '', error: '' };
  createInterface({ input: child.stdout }).on('line', (text) => {
    output.out += `${text}\n`;
    if (text.startsWith('{')) lines.push(JSON.parse(text));
  });
  child.stderr.on('data', (data) => {
    output.error += data;
  });
  const hasLeft = () => child.exitCode !== null || child.signalCode !== null;
  return {
    child,
    lines,
    output,
    async logged(text) {
      try {
        return await waitFor(`the log says "${text}"`, async () => {
          const line = lines.find(({ msg }) => msg.includes(text));
          if (!line && hasLeft()) throw new Error(`it left with ${child.exitCode}: ${output.error}`);
          return line;
        });
      } catch (error) {
        // What it did say tells why, and is gone with the process otherwise.
        const said = lines.slice(-30).map((line) => JSON.stringify(line).slice(0, 300));
        throw new Error(`${(error as Error).message}\nit said last:\n${said.join('\n')}`, { cause: error });
      }
    },
    async exited() {
      await exit;
      return child.exitCode;
    },
    async kill() {
      if (!hasLeft()) child.kill('SIGKILL');
      await exit;
    },
  };
}
