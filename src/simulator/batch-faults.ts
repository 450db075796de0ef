import { absurdErrors } from './absurd.ts';
import type { BatchFates } from './batch-fates.ts';
import type { BatchObject } from './batch-object.ts';
import { usualShare } from './fault-names.ts';
import type { Faults } from './faults.ts';
import { validationErrorOf } from './validation-forms.ts';

/** The faults of whole batches as they run. */
export function batchFaults(fates: BatchFates): Faults {
  const faults: Faults = {};
  const hasShareOf = (batch: BatchObject, fault: 'expires' | 'cancels', executed: number) => {
    const fate = fates.find(batch, fault);
    if (!fate) return false;
    // 0.29 of a hundred are 29 to people, and a little less to machines.
    return executed >= Math.floor(batch.request_counts.total * (fate.rule.share ?? usualShare) + 1e-6);
  };
  if (fates.isWanted) faults.created = (batch) => fates.decide(batch);
  if (fates.has('stuck_validating') || fates.has('stuck_in_progress') || fates.has('stuck_finalizing'))
    faults.stays = (batch, state) => fates.msOf(batch, `stuck_${state}`);
  if (fates.has('fails_validation') || fates.has('absurd_errors')) {
    faults.validation = (batch) => {
      const fate = fates.find(batch, 'fails_validation');
      const errors = fate ? [validationErrorOf(fate.rule.code, fate.turn, batch, fate.rule.line)] : [];
      return fates.find(batch, 'absurd_errors') ? [...errors, ...absurdErrors] : errors;
    };
  }
  if (fates.has('expires')) faults.expires = (batch, executed) => hasShareOf(batch, 'expires', executed);
  if (fates.has('cancels')) faults.cancels = (batch, executed) => hasShareOf(batch, 'cancels', executed);
  if (fates.has('no_output_file'))
    faults.losesOutput = (batch) => fates.find(batch, 'no_output_file') !== undefined;
  if (fates.has('no_final_newline'))
    faults.endsBare = (batch) => fates.find(batch, 'no_final_newline') !== undefined;
  return faults;
}
