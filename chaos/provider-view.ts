import type { BatchObject } from '../src/simulator/batch-object.ts';
import type { Simulator } from '../src/simulator/simulator.ts';

const terminal = new Set<string>(['completed', 'failed', 'expired', 'cancelled']);

export function openBatchesOf(simulator: Simulator): BatchObject[] {
  return simulator.batches().filter((batch) => !terminal.has(batch.status));
}
