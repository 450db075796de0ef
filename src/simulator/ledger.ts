import { digestOf } from './digest.ts';

/**
 * Counts by 53-bit key in two typed arrays (open addressing): 12 bytes an entry, so that a million requests
 * fit where a Map of strings would take a hundred megabytes.
 */
class CompactCounts {
  #keys = new Float64Array(1024);
  #counts = new Uint32Array(1024);
  #size = 0;

  /** Counts one more and returns the new count. */
  add(key: number): number {
    if (this.#size * 2 >= this.#keys.length) this.#grow();
    const slot = this.#slotOf(key);
    if (this.#counts[slot] === 0) {
      this.#keys[slot] = key;
      this.#size++;
    }
    this.#counts[slot]! += 1;
    return this.#counts[slot]!;
  }

  get(key: number): number {
    return this.#counts[this.#slotOf(key)]!;
  }

  #slotOf(key: number): number {
    const mask = this.#keys.length - 1;
    let slot = (key % 4294967296) & mask;
    while (this.#counts[slot] !== 0 && this.#keys[slot] !== key) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [keys, counts] = [this.#keys, this.#counts];
    this.#keys = new Float64Array(keys.length * 2);
    this.#counts = new Uint32Array(keys.length * 2);
    for (let i = 0; i < keys.length; i++) {
      if (counts[i] === 0) continue;
      const slot = this.#slotOf(keys[i]!);
      this.#keys[slot] = keys[i]!;
      this.#counts[slot] = counts[i]!;
    }
  }
}

export type LedgerEntry = {
  /** Null for a synchronous request. */
  customId: string | null;
  /** `digestOf` the prompt (see request.ts). */
  promptDigest: number;
  /** Answered with 200, and so to be paid for. */
  succeeded: boolean;
  inputTokens: number;
  outputTokens: number;
};

export type LedgerSummary = ReturnType<Ledger['summary']>;

/**
 * What the simulator has done since it started. Tests judge by it whether anything was paid for twice; it
 * forgets nothing when batches or files are deleted.
 */
export class Ledger {
  /** Requests executed, whether they were answered or refused. */
  executed = 0;
  /** Those of them that ended in an error, and cost nothing. */
  failed = 0;
  /** Paid requests whose prompt had been paid for before. */
  repeatedPrompts = 0;
  /** Executed requests whose custom_id had been executed before. */
  repeatedCustomIds = 0;
  batchesCreated = 0;
  inputTokens = 0;
  outputTokens = 0;
  /** Paid answers that a fault of the simulator's kept from the client. */
  spoiled = 0;
  /** Payments for a prompt beyond the first that no spoiled answer to it explains. */
  unexplainedRepeats = 0;
  #customIds = new CompactCounts();
  #prompts = new CompactCounts();
  #spoiled = new CompactCounts();
  #filesHeld: () => number;

  constructor(filesHeld: () => number) {
    this.#filesHeld = filesHeld;
  }

  record(entry: LedgerEntry): void {
    this.executed++;
    if (entry.customId !== null && this.#customIds.add(digestOf(entry.customId)) > 1)
      this.repeatedCustomIds++;
    if (!entry.succeeded) {
      this.failed++;
      return;
    }
    this.inputTokens += entry.inputTokens;
    this.outputTokens += entry.outputTokens;
    const paid = this.#prompts.add(entry.promptDigest);
    if (paid > 1) this.repeatedPrompts++;
    if (paid > 1 + this.#spoiled.get(entry.promptDigest)) this.unexplainedRepeats++;
  }

  /** Once a request has been recorded as paid: its answer does not reach the client, and a repeat is due. */
  spoil(promptDigest: number): void {
    this.spoiled++;
    // Kept as the sum over all prompts of max(0, paid - 1 - spoiled), so that no one has to add them up.
    if (this.#prompts.get(promptDigest) > this.#spoiled.add(promptDigest)) this.unexplainedRepeats--;
  }

  /** How often a request of this custom_id was executed, over all batches. */
  timesExecuted(customId: string): number {
    return this.#customIds.get(digestOf(customId));
  }

  /** How often a prompt was paid for: the texts of all its messages, joined by line feeds. */
  timesPrompted(prompt: string): number {
    return this.#prompts.get(digestOf(prompt));
  }

  /** Files that could be downloaded now: uploads and outputs. */
  filesHeld(): number {
    return this.#filesHeld();
  }

  /** The numbers alone, for whoever runs the simulator in another process. */
  summary() {
    return {
      executed: this.executed,
      failed: this.failed,
      repeatedPrompts: this.repeatedPrompts,
      repeatedCustomIds: this.repeatedCustomIds,
      batchesCreated: this.batchesCreated,
      filesHeld: this.filesHeld(),
      inputTokens: this.inputTokens,
      outputTokens: this.outputTokens,
      spoiled: this.spoiled,
      unexplainedRepeats: this.unexplainedRepeats,
    };
  }
}
