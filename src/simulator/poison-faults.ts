import type { BatchObject } from './batch-object.ts';
import type { Faults } from './faults.ts';
import type { Occasions, Strike } from './occasions.ts';
import { rulesOf } from './pipeline-rules.ts';
import { rulesAbout } from './prompt-rules.ts';
import { validationErrorOf } from './validation-forms.ts';

/**
 * Requests that fail the validation of whichever batch they are in, known by their prompts. An occasion is a batch
 * that holds one, counted as it is met; all such lines of a batch that is struck are named.
 */
export function poisonFaults(counted: Occasions[]): Faults {
  const rules = counted.filter(({ rule }) => rule.fault === 'fails_validation' && rule.prompt !== undefined);
  if (rules.length === 0) return {};
  const strikes = new WeakMap<BatchObject, Map<Occasions, Strike | null>>();

  const strikeOf = (batch: BatchObject, rule: Occasions): Strike | null => {
    const known = strikes.get(batch) ?? new Map<Occasions, Strike | null>();
    strikes.set(batch, known);
    let strike = known.get(rule);
    if (strike === undefined) {
      strike = rule.next();
      known.set(rule, strike);
    }
    return strike;
  };

  return {
    checked(batch, body) {
      const met = rulesAbout(rulesOf(rules, batch), batch.endpoint, body).map((rule) =>
        strikeOf(batch, rule),
      );
      const strike = met.find((each) => each !== null);
      if (!strike) return undefined;
      return validationErrorOf(strike.rule.code ?? 'invalid_request', strike.turn, batch, 1);
    },
  };
}
