import { RowmillError } from '../errors.ts';

/** How long one batch may be at the front before others get their turn. */
const turnMs = 5 * 60_000;
/** More bytes than this without one line that could be applied are no results. */
const maxIdleBytes = 256_000_000;

export type TurnLimits = { turnMs: number; maxIdleBytes: number };

/**
 * A batch's turn at being read. It is over after a while, so that a file without an end, or one that is sent byte by byte,
 * keeps nobody waiting; what was applied until then stays.
 */
export class Turn {
  readonly #limits: TurnLimits;
  readonly #endsAt: number;
  #idleBytes = 0;
  #hasProgressed = false;

  constructor(limits: Partial<TurnLimits> = {}) {
    this.#limits = { turnMs, maxIdleBytes, ...limits };
    this.#endsAt = performance.now() + this.#limits.turnMs;
  }

  /** Whether something was applied, and the time is up. */
  get isOver(): boolean {
    return this.#hasProgressed && performance.now() > this.#endsAt;
  }

  /** A slice was applied. */
  progressed(): void {
    this.#hasProgressed = true;
    this.#idleBytes = 0;
  }

  /** So many bytes came. Raises `no_results` where too much, or too long, came without anything to apply. */
  received(bytes: number, file: string): void {
    this.#idleBytes += bytes;
    const isLate = !this.#hasProgressed && performance.now() > this.#endsAt;
    if (!isLate && this.#idleBytes <= this.#limits.maxIdleBytes) return;
    const came = `${this.#idleBytes} bytes${isLate ? ` in ${this.#limits.turnMs / 1000} s` : ''}`;
    throw new RowmillError('no_results', `Expected lines of results in ${file}; ${came} came without one.`, {
      fields: { file, bytes: this.#idleBytes },
    });
  }
}
