import type { ProviderErrorKind } from '../errors.ts';

export type Failure = {
  /** The HTTP status; null where no answer came. */
  status: number | null;
  /** The provider's code in the body of its answer. */
  code: string | null;
  /** The code of the system or of fetch under a failed connection, such as `ECONNREFUSED`. */
  causeCode: string | null;
};

type Rule = { kind: ProviderErrorKind; about: string } & (
  | { status: readonly number[] }
  | { code: readonly string[]; status: readonly number[] }
  | { causeCode: readonly string[] }
  | { from: number; to: number }
);

/** The first rule that matches decides; where none does, the call may have been executed. */
const rules: readonly Rule[] = [
  {
    status: [400, 403, 429],
    code: ['token_limit_exceeded', 'rate_limit_exceeded', 'insufficient_quota', 'billing_hard_limit_reached'],
    kind: 'busy',
    about: 'no room or no money now; the code tells which',
  },
  { status: [429], kind: 'busy', about: 'too many requests' },
  {
    status: [301, 307, 308],
    kind: 'rejected',
    about: 'at another address, where we do not go: nothing was done',
  },
  { status: [408, 409], kind: 'ambiguous', about: 'timed out or collided inside the provider' },
  { from: 400, to: 499, kind: 'rejected', about: 'refused for good' },
  {
    causeCode: ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'],
    kind: 'busy',
    about: 'no connection, so nothing was sent',
  },
];

/** Takes what is known of a failed call; returns what that means for repeating it. */
export function failureKind(failure: Failure): ProviderErrorKind {
  return rules.find((rule) => matches(rule, failure))?.kind ?? 'ambiguous';
}

function matches(rule: Rule, { status, code, causeCode }: Failure): boolean {
  // A cause under an answer with a status says nothing about what was sent.
  if ('causeCode' in rule) return status === null && causeCode !== null && rule.causeCode.includes(causeCode);
  if (status === null) return false;
  if ('from' in rule) return status >= rule.from && status <= rule.to;
  if ('code' in rule && !(code !== null && rule.code.includes(code))) return false;
  return rule.status.includes(status);
}
