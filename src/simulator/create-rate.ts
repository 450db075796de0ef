import { ApiError } from './errors.ts';

const hourMs = 3_600_000;

/** How many batches may be created within any hour; those that were refused do not count. */
export class CreateRate {
  #limit: number;
  #now: () => number;
  #times: number[] = [];

  constructor(limit = Number.POSITIVE_INFINITY, now = () => performance.now()) {
    this.#limit = limit;
    this.#now = now;
  }

  /** Counts one more batch, or throws the 429 that its creation is refused with. */
  take(): void {
    if (this.#limit === Number.POSITIVE_INFINITY) return;
    const now = this.#now();
    this.#times = this.#times.filter((time) => now - time < hourMs);
    if (this.#times.length >= this.#limit) {
      const message = `Rate limit reached for batch creation. Limit: ${this.#limit} batches per hour.`;
      throw new ApiError(429, message, { code: 'rate_limit_exceeded', type: 'requests' });
    }
    this.#times.push(now);
  }
}
