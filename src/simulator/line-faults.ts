import { answerFlaws } from './answer-flaws.ts';
import { type BareError, type Outcome, refusal, unpaid } from './execute.ts';
import { describeFault, type FaultName, usualStatuses } from './fault-names.ts';
import type { Faults, FlawedAnswer } from './faults.ts';
import { firstStrike, type Occasions, type Strike } from './occasions.ts';
import { rulesAbout } from './prompt-rules.ts';
import { requestError, statusOfCode } from './request-errors.ts';

/** The faults of single requests of a batch, and of the lines that they are answered with. */
export function lineFaults(counted: Occasions[]): Faults {
  const about = (subject: 'execution' | 'line') =>
    counted.filter(({ rule }) => describeFault(rule.fault).subject === subject);
  const [executions, lines] = [about('execution'), about('line')];
  const faults: Faults = {};
  if (executions.length > 0) {
    faults.outcome = (batch, _customId, body) => {
      const strike = firstStrike(rulesAbout(executions, batch.endpoint, body));
      return strike ? fateOf(strike) : undefined;
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

function fateOf({ rule, turn }: Strike): Outcome | BareError | FlawedAnswer {
  const flaw = answerFlaws.find((each) => rule.fault === `answer_${each}`);
  if (flaw !== undefined) return { flaw };
  if (rule.fault === 'request_fails_bare')
    return { code: 'server_error', message: 'The server had an error while processing this request.' };
  const { code } = rule;
  const usual = code === undefined ? usualStatuses[turn % usualStatuses.length]! : statusOfCode(code);
  const status = rule.status ?? usual;
  // No HTTP answer ever came, so there is no body either.
  return status === 0 ? unpaid(status, 'null') : refusal(requestError(status, code));
}
