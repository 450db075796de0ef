import { createFaults } from '../src/simulator/create-faults.ts';
import type { FaultRule } from '../src/simulator/fault-rules.ts';
import type { Faults } from '../src/simulator/faults.ts';

/** Every kind of misbehaviour, each rare enough for work to get done between them. */
const rules: FaultRule[] = [
  { fault: 'http_429', probability: 0.02 },
  { fault: 'http_500', probability: 0.02 },
  { fault: 'http_502', probability: 0.02 },
  { fault: 'http_503', probability: 0.02 },
  { fault: 'reset_before', probability: 0.02 },
  { fault: 'reset_after', probability: 0.03 },
  { fault: 'http_500_after', probability: 0.02 },
  { fault: 'timeout_after', route: 'create', probability: 0.02, ms: 1500 },
  { fault: 'timeout_before', probability: 0.01, ms: 1500 },
  // Within settings.adopt_after, as they must be: later than that, nobody waits for an effect any more.
  { fault: 'late_effect', route: 'create', probability: 0.02, ms: 1000 },
  { fault: 'late_effect', route: 'upload', probability: 0.01, ms: 500 },
  { fault: 'token_limit_400', probability: 0.01 },
  { fault: 'token_limit_429', probability: 0.01 },
  // Longer than a lease, so that who looks once and gives up pays twice; with a late create within adopt_after.
  { fault: 'list_lags', ms: 4000 },
  { fault: 'not_found_at_first', probability: 0.1, ms: 500 },
  { fault: 'retrieve_down', probability: 0.03, ms: 2000 },
  { fault: 'empty_ids', probability: 0.2 },
  { fault: 'download_cut', probability: 0.05 },
  { fault: 'stuck_validating', probability: 0.05, ms: 1500 },
  { fault: 'stuck_in_progress', probability: 0.05, ms: 1500 },
  { fault: 'stuck_finalizing', probability: 0.05, ms: 1500 },
  { fault: 'fails_validation', probability: 0.02 },
  { fault: 'expires', probability: 0.05 },
  { fault: 'cancels', probability: 0.03 },
  { fault: 'no_output_file', probability: 0.01 },
  { fault: 'request_fails', probability: 0.003 },
  { fault: 'request_fails_bare', probability: 0.001 },
  { fault: 'line_missing', probability: 0.002 },
  { fault: 'line_doubled', probability: 0.005 },
  { fault: 'line_unknown', probability: 0.002 },
  { fault: 'line_truncated', probability: 0.001 },
  { fault: 'no_final_newline', probability: 0.3 },
];

/** A provider that misbehaves by the seed; for one simulator. */
export function chaosFaults(seed: number): Faults {
  return createFaults(rules, { seed });
}
