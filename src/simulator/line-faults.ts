import { ApiError, serverError } from './errors.ts';
import { type BareError, type Outcome, refusal } from './execute.ts';
import { describeFault, type FaultName, usualStatuses } from './fault-names.ts';
import type { Faults } from './faults.ts';
import { firstStrike, type Occasions, type Strike } from './occasions.ts';

/** The faults of single requests of a batch, and of the lines that they are answered with. */
export function lineFaults(counted: Occasions[]): Faults {
  const about = (subject: 'execution' | 'line') =>
    counted.filter(({ rule }) => describeFault(rule.fault).subject === subject);
  const [executions, lines] = [about('execution'), about('line')];
  const faults: Faults = {};
  if (executions.length > 0) {
    faults.outcome = () => {
      const strike = firstStrike(executions);
      return strike ? failure(strike) : undefined;
    };
  }
  if (lines.length > 0) {
    let strangers = 0;
    faults.written = (_batch, line) => {
      const strike = firstStrike(lines);
      return strike ? spoilt(strike.rule.fault, line, () => `stranger-${++strangers}`) : [line];
    };
  }
  return faults;
}

function spoilt(fault: FaultName, line: string, newStranger: () => string): string[] {
  switch (fault) {
    case 'line_missing':
      return [];
    case 'line_doubled':
      return [line, line];
    case 'line_unknown':
      return [line, JSON.stringify({ ...(JSON.parse(line) as object), custom_id: newStranger() })];
    default:
      return [line.slice(0, Math.floor(line.length / 2))];
  }
}

function failure({ rule, turn }: Strike): Outcome | BareError {
  if (rule.fault === 'request_fails_bare')
    return { code: 'server_error', message: 'The server had an error while processing this request.' };
  const status = rule.status ?? usualStatuses[turn % usualStatuses.length]!;
  // No HTTP answer ever came, so there is no body either.
  if (status === 0) return { status, body: 'null', promptDigest: 0, inputTokens: 0, outputTokens: 0 };
  return refusal(errorOf(status));
}

function errorOf(status: number): ApiError {
  if (status >= 500) return serverError(status);
  if (status === 429)
    return new ApiError(429, 'Rate limit reached for requests.', {
      code: 'rate_limit_exceeded',
      type: 'requests',
    });
  return new ApiError(status, 'The request was refused.', { code: 'invalid_value', param: 'messages' });
}
