import { RowmillError } from '../errors.ts';
import { type Moment, msSince, now } from '../moment.ts';

export type Hold = {
  /** `<worker>/<number>`: the owner of what is claimed under it. */
  readonly id: string;
  /** How long it lasts from its last renewal. */
  readonly durationMs: number;
  /** Aborted as soon as it is no longer certain that what was claimed is still ours. */
  readonly signal: AbortSignal;
  /** Raises `lease_lost` then. To be asked right before anything that reaches the provider. */
  assertHeld(): void;
  /** Nothing is in hand any more: it is not renewed. */
  end(): void;
};

/**
 * The leases that this process knows of. What the database thinks of them is reckoned here without asking it: a
 * lease counts from the moment before the call that took or renewed it was sent, so that it ends here before it
 * ends there, whatever happens to the connection. (Clocks must run at the same rate here and there; what they show does
 * not matter.)
 */
export class Leases {
  /** As the database said last; null before it was asked. */
  durationMs: number | null = null;
  readonly #worker: string;
  readonly #inHand = new Map<string, Held>();
  #taken = 0;

  constructor(worker: string) {
    this.#worker = worker;
  }

  /** The ids to renew. */
  ids(): string[] {
    return [...this.#inHand.keys()];
  }

  /** A lease for a claim that is sent right after this; `durationMs` must be known. */
  take(): Hold {
    if (this.durationMs === null) throw new Error('leases are taken after the first renewal');
    this.#taken += 1;
    const held = new Held(`${this.#worker}/${this.#taken}`, this.durationMs, () =>
      this.#inHand.delete(held.id),
    );
    this.#inHand.set(held.id, held);
    return held;
  }

  /** These ids were renewed by a call sent at `sentAt` and answered now. */
  renewed(ids: string[], sentAt: Moment, durationMs: number): void {
    this.durationMs = durationMs;
    // One that ran out meanwhile may have run out there before the call arrived.
    for (const id of ids) this.#inHand.get(id)?.renew(sentAt, durationMs);
  }
}

class Held implements Hold {
  readonly id: string;
  durationMs: number;
  readonly #abort = new AbortController();
  readonly #onEnd: () => void;
  #sentAt = now();
  #timer: NodeJS.Timeout | undefined;

  constructor(id: string, durationMs: number, onEnd: () => void) {
    this.id = id;
    this.durationMs = durationMs;
    this.#onEnd = onEnd;
    this.#watch();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  renew(sentAt: Moment, durationMs: number): void {
    // Two calls may be answered in the wrong order.
    if (!this.#isHeld() || sentAt.steadyMs < this.#sentAt.steadyMs) return;
    this.#sentAt = sentAt;
    this.durationMs = durationMs;
    this.#watch();
  }

  assertHeld(): void {
    // A process that slept finds its timers late; the clocks are not.
    if (!this.#isHeld()) throw lost(this.id);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#onEnd();
  }

  #isHeld(): boolean {
    if (this.#abort.signal.aborted) return false;
    if (msSince(this.#sentAt) < this.durationMs) return true;
    this.end();
    this.#abort.abort(lost(this.id));
    return false;
  }

  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#isHeld() && this.#watch(), this.durationMs - msSince(this.#sentAt));
    this.#timer.unref();
  }
}

function lost(id: string): RowmillError {
  return new RowmillError('lease_lost', `The lease ${id} ran out: whoever takes it over goes on.`, {
    fields: { lease: id },
  });
}
