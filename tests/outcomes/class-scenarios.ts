import type { ErrorClass } from '../../src/pipeline/error-classes.ts';
import { range } from './outcome-world.ts';

/** Tried again and counted, tried again for nothing, or over at once. */
type Course = 'counted' | 'uncounted' | 'final';

export type Scenario = {
  /** Said once more here: a class whose course changes is to be noticed. */
  course: Course;
  /** Faults that strike once, and the same that strike at every attempt. */
  once: string[];
  ever: string[];
  /** The films that are struck at first, of twenty. */
  struck: number[];
  code: string | null;
  /** Whether what was struck is paid for. */
  isPaid: boolean;
};

/** Two classes are no failures but races with the user; they have no fault, and tests of their own. */
export type FaultClass = Exclude<ErrorClass, 'stale_input' | 'row_gone'>;

const films = 20;
const one = [7];
const all = range(1, films);

/** A fault of the one film 7. */
function ofOne(
  course: Course,
  fault: string,
  options: string,
  code: string | null,
  isPaid: boolean,
): Scenario {
  const details = `${options}${options === '' ? '' : ';'}prompt=film 7`;
  return {
    course,
    once: [`${fault}@1;${details}`],
    ever: [`${fault};${details}`],
    struck: one,
    code,
    isPaid,
  };
}

/** How the simulator brings about each class that a provider, or Postgres, is the cause of. */
export const scenarios: Record<FaultClass, Scenario> = {
  rate_limited: ofOne('counted', 'request_fails', 'code=rate_limit_exceeded', 'rate_limit_exceeded', false),
  server_error: ofOne('counted', 'request_fails', 'status=500', 'server_error', false),
  timeout: ofOne('counted', 'request_fails', 'status=408', 'timeout', false),
  batch_expired: {
    course: 'uncounted',
    ...{ once: ['expires@1;share=0.7'], ever: ['expires;share=0'] },
    ...{ struck: range(15, films), code: 'batch_expired', isPaid: false },
  },
  batch_cancelled: {
    course: 'uncounted',
    ...{ once: ['cancels@1;share=0.7'], ever: ['cancels;share=0'] },
    ...{ struck: range(15, films), code: 'batch_cancelled', isPaid: false },
  },
  // Lines are counted as they are written: 20 of the first batch, one of each after it.
  missing: {
    course: 'counted',
    ...{ once: ['line_missing@7'], ever: ['line_missing@7,21,22'] },
    ...{ struck: one, code: null, isPaid: true },
  },
  invalid_json: ofOne('counted', 'answer_not_json', '', null, true),
  schema_mismatch: ofOne('counted', 'answer_off_schema', '', null, true),
  type_mismatch: ofOne('counted', 'answer_off_type', '', null, true),
  truncated: ofOne('counted', 'answer_cut', '', 'length', true),
  refused: ofOne('final', 'answer_refused', '', 'refusal', true),
  content_filter: ofOne('final', 'answer_filtered', '', 'content_filter', true),
  invalid_request: ofOne('final', 'request_fails', 'status=400', 'invalid_value', false),
  quota_exhausted: ofOne(
    'uncounted',
    'request_fails',
    'code=insufficient_quota',
    'insufficient_quota',
    false,
  ),
  batch_rejected: {
    course: 'counted',
    ...{ once: ['fails_validation@1;code=empty_file'], ever: ['fails_validation;code=empty_file'] },
    ...{ struck: all, code: 'empty_file', isPaid: false },
  },
  unknown: ofOne('counted', 'request_fails', 'status=403', 'invalid_value', false),
};
