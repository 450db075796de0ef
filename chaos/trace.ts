import { parseCustomId } from '../src/pipeline/custom-id.ts';
import type { Faults } from '../src/simulator/faults.ts';

export type Execution = {
  providerBatchId: string;
  customId: string;
  /** paid: its answer was written; spoiled: paid for, and a fault kept the answer back; failed: not paid for. */
  became: 'paid' | 'spoiled' | 'failed';
};

/** Which batches executed which version of a row: by the hash of its input, which custom_id ends in. */
export class Trace {
  readonly #byHash = new Map<string, Execution[]>();
  readonly #batchesWithoutOutput = new Set<string>();

  /** Takes the faults of a simulator; returns the same, with an eye on what they do to each request. */
  watch(faults: Faults): Faults {
    const { outcome, written, losesOutput } = faults;
    return {
      ...faults,
      outcome: (batch, customId, body) => {
        const failure = outcome?.(batch, customId, body);
        const became = failure === undefined ? 'paid' : 'flaw' in failure ? 'spoiled' : 'failed';
        this.#add({ providerBatchId: batch.id, customId, became });
        return failure;
      },
      ...(written && {
        written: (batch, line) => {
          const lines = written(batch, line);
          if (!lines.includes(line)) this.#spoil(batch.id, line);
          return lines;
        },
      }),
      ...(losesOutput && {
        losesOutput: (batch) => {
          const isLost = losesOutput(batch);
          if (isLost) this.#batchesWithoutOutput.add(batch.id);
          return isLost;
        },
      }),
    };
  }

  of(hash: string): Execution[] {
    const executions = this.#byHash.get(hash) ?? [];
    return executions.map((execution) =>
      execution.became === 'paid' && this.#batchesWithoutOutput.has(execution.providerBatchId)
        ? { ...execution, became: 'spoiled' }
        : execution,
    );
  }

  #add(execution: Execution): void {
    const hash = hashIn(execution.customId);
    const known = this.#byHash.get(hash);
    if (known) known.push(execution);
    else this.#byHash.set(hash, [execution]);
  }

  #spoil(providerBatchId: string, line: string): void {
    const { custom_id: customId } = JSON.parse(line) as { custom_id: string };
    const execution = this.#byHash
      .get(hashIn(customId))
      ?.find((each) => each.customId === customId && each.providerBatchId === providerBatchId);
    if (execution?.became === 'paid') execution.became = 'spoiled';
  }
}

function hashIn(customId: string): string {
  return parseCustomId(customId)?.hash ?? customId;
}
