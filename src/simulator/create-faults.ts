import { BatchFates } from './batch-fates.ts';
import { batchFaults } from './batch-faults.ts';
import { downloadFaults } from './download-faults.ts';
import type { FaultRule } from './fault-rules.ts';
import type { Faults } from './faults.ts';
import { hostileFaults } from './hostile-faults.ts';
import { hostileLists } from './hostile-lists.ts';
import { lineFaults } from './line-faults.ts';
import { countOccasions } from './occasions.ts';
import { poisonFaults } from './poison-faults.ts';
import { readingFaults } from './reading-faults.ts';
import { requestFaults } from './request-faults.ts';
import { uploadFaults } from './upload-faults.ts';

/**
 * The faults that a list of rules makes. The same seed (0 without one) and the same occasions give the same
 * faults. What no rule is about stays undefined, and so costs nothing. For one simulator only: it counts.
 */
export function createFaults(rules: FaultRule[], options: { seed?: number } = {}): Faults {
  const { seed = 0 } = options;
  const counted = countOccasions(rules, seed);
  const fates = new BatchFates(counted);
  return {
    ...requestFaults(counted),
    ...readingFaults(counted, fates),
    ...uploadFaults(counted),
    ...hostileLists(counted, fates),
    ...hostileFaults(fates),
    ...downloadFaults(counted, seed),
    ...batchFaults(fates),
    ...poisonFaults(counted),
    ...lineFaults(counted),
  };
}
