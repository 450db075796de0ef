import { absurdResult } from './absurd.ts';
import { answerFlaws } from './answer-flaws.ts';
import { type BareError, type Outcome, refusal, unpaid } from './execute.ts';
import { describeFault, usualStatuses } from './fault-names.ts';
import type { Faults, FlawedAnswer, RawResult } from './faults.ts';
import { misplaced, RecentIds, withAbsurdUsage } from './hostile-lines.ts';
import { firstStrike, type Occasions, type Strike } from './occasions.ts';
import { rulesOf } from './pipeline-rules.ts';
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
      const strike = firstStrike(rulesAbout(rulesOf(executions, batch), batch.endpoint, body));
      return strike ? fateOf(strike) : undefined;
    };
  }
  if (lines.length > 0) {
    let strangers = 0;
    const recent = lines.some(({ rule }) => rule.fault === 'line_foreign') ? new RecentIds() : null;
    faults.written = (batch, line) => {
      recent?.add(batch, idOf(line));
      const strike = firstStrike(rulesOf(lines, batch));
      if (!strike) return [line];
      const others = {
        line_unknown: () => `stranger-${++strangers}`,
        line_foreign: () => recent!.ofAnother(batch, strike.turn),
        line_misplaced: () => misplaced(idOf(line), strike.turn),
      };
      return spoilt(strike, line, others);
    };
  }
  return faults;
}

type Others = Record<'line_unknown' | 'line_foreign' | 'line_misplaced', () => string>;

function idOf(line: string): string {
  return (JSON.parse(line) as { custom_id: string }).custom_id;
}

function spoilt({ rule: { fault }, turn }: Strike, line: string, others: Others): string[] {
  switch (fault) {
    case 'line_missing':
      return [];
    case 'line_doubled':
      return [line, line];
    case 'line_unknown':
    case 'line_foreign':
    case 'line_misplaced':
      return [line, JSON.stringify({ ...(JSON.parse(line) as object), custom_id: others[fault]() })];
    case 'line_absurd_usage':
      return [withAbsurdUsage(line, turn)];
    default:
      return [line.slice(0, Math.floor(line.length / 2))];
  }
}

function fateOf({ rule, turn }: Strike): Outcome | BareError | FlawedAnswer | RawResult {
  const flaw = answerFlaws.find((each) => rule.fault === `answer_${each}`);
  if (flaw !== undefined) return { flaw };
  if (rule.fault === 'request_absurd') return absurdResult(turn);
  if (rule.fault === 'request_fails_bare')
    return { code: 'server_error', message: 'The server had an error while processing this request.' };
  const { code } = rule;
  const usual = code === undefined ? usualStatuses[turn % usualStatuses.length]! : statusOfCode(code);
  const status = rule.status ?? usual;
  // No HTTP answer ever came, so there is no body either.
  return status === 0 ? unpaid(status, 'null') : refusal(requestError(status, code));
}
