import { type BatchErrorItem, type BatchObject, hasEnded } from './batch-object.ts';
import { tokenLimitExceeded } from './validation-errors.ts';

/**
 * The input tokens of all batches of a model that have been counted and not ended. Nothing is given back: what is
 * held is read off the batches' own states, so no way to end can forget it.
 */
export class EnqueuedTokens {
  #limit: number;
  #held = new Map<BatchObject, number>();
  #peaks = new Map<string, number>();

  constructor(limit = Number.POSITIVE_INFINITY) {
    this.#limit = limit;
  }

  /** Holds the tokens of a batch whose input has been checked; the error that it fails with if they are too many. */
  admit(batch: BatchObject, tokens: number): BatchErrorItem | null {
    for (const each of this.#held.keys()) if (hasEnded(each)) this.#held.delete(each);
    const model = modelOf(batch);
    const held = tokens + (this.now()[model] ?? 0);
    if (held > this.#limit) return tokenLimitExceeded(batch.model, this.#limit);
    this.#held.set(batch, tokens);
    this.#peaks.set(model, Math.max(held, this.#peaks.get(model) ?? 0));
    return null;
  }

  /** Of each model that ever held some, what it holds now. */
  now(): Record<string, number> {
    const sums = new Map([...this.#peaks.keys()].map((model) => [model, 0]));
    for (const [batch, tokens] of this.#held) {
      if (!hasEnded(batch)) sums.set(modelOf(batch), tokens + (sums.get(modelOf(batch)) ?? 0));
    }
    return Object.fromEntries(sums);
  }

  /** The most that each model ever held. */
  peaks(): Record<string, number> {
    return Object.fromEntries(this.#peaks);
  }
}

// By the dated name, as replies show it: an alias shares the limit of what it stands for.
function modelOf(batch: BatchObject): string {
  return batch.model ?? 'unknown';
}
