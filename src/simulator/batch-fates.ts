import type { BatchObject } from './batch-object.ts';
import { describeFault, type FaultName } from './fault-names.ts';
import type { Occasions, Strike } from './occasions.ts';

/**
 * What the rules have in store for each batch, all of it decided when it is created: so a script counts batches
 * in the order of creation, whichever of them runs faster.
 */
export class BatchFates {
  #rules: Occasions[];
  #fates = new WeakMap<BatchObject, { createdAt: number; fates: Strike[] }>();

  constructor(counted: Occasions[]) {
    // What depends on a batch's prompts cannot be decided before they are read; see poison-faults.ts.
    const isFate = ({ rule }: Occasions) =>
      describeFault(rule.fault).subject === 'batch' && rule.prompt === undefined;
    this.#rules = counted.filter(isFate);
  }

  get isEmpty(): boolean {
    return this.#rules.length === 0;
  }

  /** Whether any batch can meet with this fault. */
  has(fault: FaultName): boolean {
    return this.#rules.some(({ rule }) => rule.fault === fault);
  }

  decide(batch: BatchObject): void {
    const fates = this.#rules.map((each) => each.next()).filter((strike) => strike !== null);
    this.#fates.set(batch, { createdAt: performance.now(), fates });
  }

  /** The fate of this name that a batch has; where several rules struck, the first one's. */
  find(batch: BatchObject, fault: FaultName): Strike | undefined {
    return this.#fates.get(batch)?.fates.find(({ rule }) => rule.fault === fault);
  }

  /** How long a fault that struck a batch lasts; 0 where none did. */
  msOf(batch: BatchObject, fault: FaultName): number {
    const rule = this.find(batch, fault)?.rule;
    return rule ? (rule.ms ?? describeFault(fault).ms ?? 0) : 0;
  }

  /** Whether the fault struck the batch and the batch is younger than the fault lasts. */
  isYoung(batch: BatchObject, fault: FaultName): boolean {
    const { createdAt } = this.#fates.get(batch) ?? { createdAt: 0 };
    return performance.now() - createdAt < this.msOf(batch, fault);
  }
}
