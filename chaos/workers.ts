import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from './random.ts';

const root = path.join(import.meta.dirname, '..');
const restartMs = 500;
const orderlyMs = 15_000;

/** A worker that ended though nobody killed it, or did not end when asked to. */
export type UnaskedExit = { pid: number; how: string; log: string };

type Worker = { child: ChildProcess; log: string; isPaused: boolean; ending: 'none' | 'killed' | 'asked' };

/** A number of worker processes, of which each that ends is replaced by a new one. */
export class Workers {
  readonly unasked: UnaskedExit[] = [];
  started = 0;
  readonly #env: NodeJS.ProcessEnv;
  readonly #directory: string;
  readonly #running = new Set<Worker>();
  readonly #atExit = () => void this.kill();
  #isEnding = false;

  constructor(
    directory: string,
    databaseUrl: string,
    providerUrl: string,
    others: Record<string, string> = {},
  ) {
    this.#directory = directory;
    this.#env = {
      PATH: process.env.PATH,
      DATABASE_URL: databaseUrl,
      OPENAI_API_KEY: 'chaos',
      OPENAI_BASE_URL: providerUrl,
      PORT: '0',
      LOG_LEVEL: 'warn',
      ROWMILL_TICK_CRON: '* * * * * *',
      ROWMILL_POLL_CRON: '* * * * * *',
      // Hundreds of starts: most of each is compiling.
      NODE_COMPILE_CACHE: path.join(directory, 'compile-cache'),
      ...others,
    };
    process.once('exit', this.#atExit);
  }

  /** Starts so many. One that knows no such command first: it loads everything, and leaves the cache behind. */
  async start(count: number): Promise<void> {
    const warmUp = spawn(process.execPath, ['src/server.ts', 'none'], {
      cwd: root,
      env: this.#env,
      stdio: 'ignore',
    });
    await once(warmUp, 'exit');
    for (let n = 0; n < count; n += 1) this.#startOne();
  }

  /** Those that run now. */
  get pids(): number[] {
    return [...this.#running].map(({ child }) => child.pid ?? 0);
  }

  /** SIGKILL for one; false where all are paused. */
  killOne(random: Random): boolean {
    const worker = this.#pick(random);
    if (!worker) return false;
    worker.ending = 'killed';
    worker.child.kill('SIGKILL');
    return true;
  }

  /** Stops one for so long and lets it go on, as if nothing had happened; null where all are paused. */
  pauseOne(random: Random, ms: number, signal: AbortSignal): Promise<void> | null {
    const worker = this.#pick(random);
    if (!worker) return null;
    worker.isPaused = true;
    worker.child.kill('SIGSTOP');
    return delay(ms, undefined, { signal }).finally(() => {
      worker.child.kill('SIGCONT');
      worker.isPaused = false;
    });
  }

  /** Asks all of them to finish what is in hand and leave. */
  async stop(): Promise<void> {
    this.#isEnding = true;
    await Promise.all(
      [...this.#running].map(async (worker) => {
        const exited = once(worker.child, 'exit');
        if (worker.ending === 'none') worker.ending = 'asked';
        worker.child.kill('SIGTERM');
        const patience = setTimeout(() => worker.child.kill('SIGKILL'), orderlyMs);
        await exited;
        clearTimeout(patience);
      }),
    );
    process.off('exit', this.#atExit);
  }

  /** Ends all of them at once; resolves when they are gone. Harmless to repeat. */
  async kill(): Promise<void> {
    this.#isEnding = true;
    const exits = [...this.#running].map((worker) => {
      const exited = once(worker.child, 'exit');
      worker.ending = 'killed';
      worker.child.kill('SIGKILL');
      return exited;
    });
    await Promise.all(exits);
    process.off('exit', this.#atExit);
  }

  #pick(random: Random): Worker | null {
    const workers = [...this.#running].filter((worker) => !worker.isPaused && worker.ending === 'none');
    return workers.length === 0 ? null : random.pick(workers);
  }

  #startOne(): void {
    if (this.#isEnding) return;
    this.started += 1;
    const log = path.join(this.#directory, `worker-${this.started}.log`);
    const file = openSync(log, 'w');
    const child = spawn(process.execPath, ['--optimize-for-size', 'src/server.ts'], {
      cwd: root,
      env: this.#env,
      stdio: ['ignore', file, file],
    });
    closeSync(file);
    const worker: Worker = { child, log, isPaused: false, ending: 'none' };
    this.#running.add(worker);
    child.once('exit', (code, signal) => this.#ended(worker, code, signal));
  }

  #ended(worker: Worker, code: number | null, signal: NodeJS.Signals | null): void {
    this.#running.delete(worker);
    // Asked in its first moments, before it listens to signals, it just ends.
    const isRight =
      worker.ending === 'killed' || (worker.ending === 'asked' && (code === 0 || signal === 'SIGTERM'));
    if (!isRight) {
      const how = signal ?? `exit code ${code}`;
      this.unasked.push({ pid: worker.child.pid ?? 0, how, log: lastLines(worker.log) });
    }
    if (worker.ending === 'none') setTimeout(() => this.#startOne(), restartMs);
    else this.#startOne();
  }
}

/** Frames of a stack that are not ours would leave no room for what it says. */
function lastLines(file: string): string {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return lines
    .filter((line) => line.trim() !== '' && !/^\s+at .*(node:|node_modules)/.test(line))
    .slice(-14)
    .map((line) => line.slice(0, 400))
    .join('\n');
}
