import type { BatchObject } from './batch-object.ts';
import { describeFault, type FaultName } from './fault-names.ts';
import type { Occasions, Strike } from './occasions.ts';
import { rulesOf } from './pipeline-rules.ts';

/**
 * What the rules have in store for each batch, all of it decided when it is created: so a script counts batches
 * in the order of creation, whichever of them runs faster.
 */
export class BatchFates {
  #rules: Occasions[];
  #fates = new WeakMap<BatchObject, { createdAt: number; fates: Strike[] }>();
  #pipelines = new Set<string>();
  /** Whether any rule asks what batches there were. */
  readonly isWanted: boolean;

  constructor(counted: Occasions[]) {
    // What depends on a batch's prompts cannot be decided before they are read; see poison-faults.ts.
    const isFate = ({ rule }: Occasions) =>
      ['batch', 'hostile'].includes(describeFault(rule.fault).subject) && rule.prompt === undefined;
    this.#rules = counted.filter(isFate);
    const isAboutPipeline = ({ rule }: Occasions) =>
      describeFault(rule.fault).subject === 'list' && rule.pipeline !== undefined;
    this.isWanted = this.#rules.length > 0 || counted.some(isAboutPipeline);
  }

  /** Whether any batch can meet with this fault. */
  has(fault: FaultName): boolean {
    return this.#rules.some(({ rule }) => rule.fault === fault);
  }

  decide(batch: BatchObject): void {
    const pipeline = batch.metadata?.rowmill_pipeline;
    if (pipeline !== undefined) this.#pipelines.add(pipeline);
    const fates = rulesOf(this.#rules, batch)
      .map((each) => each.next())
      .filter((strike) => strike !== null);
    this.#fates.set(batch, { createdAt: performance.now(), fates });
  }

  /** Whether there has been a batch of the pipeline. */
  hasSeen(pipeline: string): boolean {
    return this.#pipelines.has(pipeline);
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
