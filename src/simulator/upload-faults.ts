import type { Faults } from './faults.ts';
import { redirect } from './instead.ts';
import { firstStrike, type Occasions } from './occasions.ts';
import { rulesAbout } from './prompt-rules.ts';
import { isEndpoint, isJsonObject } from './request.ts';

/** The faults of uploads that are known by what is in them. */
export function uploadFaults(counted: Occasions[]): Faults {
  const rules = counted.filter(({ rule }) => rule.fault === 'upload_redirect');
  if (rules.length === 0) return {};
  return {
    uploaded({ url, body }) {
      if (!isEndpoint(url) || !isJsonObject(body)) return undefined;
      const strike = firstStrike(rulesAbout(rules, url, body));
      return strike ? redirect(307, strike.rule) : undefined;
    },
  };
}
