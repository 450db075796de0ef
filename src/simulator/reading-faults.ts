import { absurdNumbers } from './absurd.ts';
import type { BatchFates } from './batch-fates.ts';
import { type BatchObject, noSuchBatch } from './batch-object.ts';
import { serverError } from './errors.ts';
import { describeFault } from './fault-names.ts';
import type { Faults } from './faults.ts';
import { firstStrike, type Occasions } from './occasions.ts';
import { rulesOf } from './pipeline-rules.ts';

/** The faults of looking at batches, which themselves are well. */
export function readingFaults(counted: Occasions[], fates: BatchFates): Faults {
  const faults: Faults = {};
  const downs = counted.filter(({ rule }) => rule.fault === 'retrieve_down');
  if (fates.has('list_lags')) faults.isListed = (batch) => !fates.isYoung(batch, 'list_lags');
  if (fates.has('empty_ids') || fates.has('absurd_counts')) {
    faults.shown = (batch) => {
      const absurd = fates.find(batch, 'absurd_counts');
      const isEmpty = fates.find(batch, 'empty_ids') !== undefined;
      const { output_file_id, error_file_id, usage, request_counts } = batch;
      return {
        ...batch,
        ...(isEmpty && { output_file_id: output_file_id ?? '', error_file_id: error_file_id ?? '' }),
        ...(absurd && absurdNumbers({ usage, request_counts }, absurd.turn)),
      };
    };
  }
  if (downs.length > 0 || fates.has('not_found_at_first')) {
    const isDown = downTimes(downs);
    faults.retrieved = (batch) => {
      if (isDown(batch)) return serverError();
      return fates.isYoung(batch, 'not_found_at_first') ? noSuchBatch(batch.id) : undefined;
    };
  }
  return faults;
}

/** Which batches cannot be retrieved for now; each of them is down once in its life. */
function downTimes(rules: Occasions[]): (batch: BatchObject) => boolean {
  const downUntil = new WeakMap<BatchObject, number>();
  return (batch) => {
    const until = downUntil.get(batch);
    if (until !== undefined) return performance.now() < until;
    const strike = firstStrike(rulesOf(rules, batch));
    if (!strike) return false;
    const { ms = describeFault('retrieve_down').ms ?? 0 } = strike.rule;
    downUntil.set(batch, performance.now() + ms);
    return ms > 0;
  };
}
