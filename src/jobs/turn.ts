import { RowmillError } from '../errors.ts';

/** How long one batch may be at the front before others get their turn. */
const turnMs = 5 * 60_000;
/** More bytes than this without one line that could be applied are no results: a line has 8 MB at most. */
const maxIdleBytes = 32_000_000;

export type TurnLimits = {
  turnMs: number;
  maxIdleBytes: number;
  /** Whether a download that stalls is soon given up: others wait, and a later turn has more patience. */
  isHurried: boolean;
};

/**
 * A batch's turn at being read. It is over after a while, so that a file without an end, or one that is sent byte by byte,
 * keeps nobody waiting; what was applied until then stays.
 */
export class Turn {
  readonly #limits: TurnLimits;
  readonly #endsAt: number;
  /** Since when there is something to apply, and nothing was; null: nothing came. */
  #idleSince: number | null = null;
  #idleBytes = 0;
  #hasProgressed = false;

  constructor(limits: Partial<TurnLimits> = {}) {
    this.#limits = { turnMs, maxIdleBytes, isHurried: false, ...limits };
    this.#endsAt = performance.now() + this.#limits.turnMs;
  }

  get isHurried(): boolean {
    return this.#limits.isHurried;
  }

  /** Whether something was applied, and the time is up. */
  get isOver(): boolean {
    return this.#hasProgressed && performance.now() > this.#endsAt;
  }

  /** A slice was applied. */
  progressed(): void {
    this.#hasProgressed = true;
    this.#idleSince = null;
    this.#idleBytes = 0;
  }

  /**
   * So many bytes came that were not applied before. Raises `no_results` where too many came without a line, and
   * `results_late` where they took too long: a second download may be quicker.
   */
  received(bytes: number, file: string): void {
    this.#idleSince ??= performance.now();
    this.#idleBytes += bytes;
    const isLate = performance.now() - this.#idleSince > this.#limits.turnMs;
    if (!isLate && this.#idleBytes <= this.#limits.maxIdleBytes) return;
    const came = `${this.#idleBytes} bytes${isLate ? ` in ${this.#limits.turnMs / 1000} s` : ''}`;
    const message = `Expected lines of results in ${file}; ${came} came without one.`;
    throw new RowmillError(isLate ? 'results_late' : 'no_results', message, {
      fields: { file, bytes: this.#idleBytes },
    });
  }
}
