import { describeFault } from './fault-names.ts';
import type { FaultRule } from './fault-rules.ts';
import type { Instead } from './faults.ts';

export const asJson = { 'content-type': 'application/json' };
export const asGzip = { 'content-encoding': 'gzip' };

/** Sends the client elsewhere. */
export function redirect(status: 302 | 307, { to = '' }: FaultRule): Instead {
  return { status, headers: { location: to }, body: '' };
}

/** What a rule says, or what is usual. */
export function numberOf(rule: FaultRule, key: 'ms' | 'mb'): number {
  return rule[key] ?? describeFault(rule.fault)[key] ?? 0;
}
