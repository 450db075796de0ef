import { setImmediate as nextTurn } from 'node:timers/promises';

// A timer that is set to longer goes off at once.
const longestTimer = 2 ** 31 - 1;

/** Waits, for ever if need be, or returns early when the signal is aborted; it never rejects. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds <= 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = milliseconds <= longestTimer ? setTimeout(finish, milliseconds) : undefined;
    signal.addEventListener('abort', finish);
  });
}

/** Hands the event loop over once a few milliseconds of work have gone by, so that HTTP stays responsive. */
export class Breather {
  #sliceMs: number;
  #since = performance.now();

  constructor(sliceMs = 4) {
    this.#sliceMs = sliceMs;
  }

  isDue(): boolean {
    return performance.now() - this.#since >= this.#sliceMs;
  }

  async breathe(): Promise<void> {
    await nextTurn();
    this.#since = performance.now();
  }
}

/** Lets a few run at a time; the rest wait in order. */
export class Slots {
  #free: number;
  #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      // A slot is handed on rather than freed, so that nobody overtakes the one that waits.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}
