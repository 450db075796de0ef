import { expect, test } from 'vitest';
import type { ProviderErrorKind } from '../../src/errors.ts';
import { failureKind } from '../../src/provider/failure-kind.ts';

const cases: [ProviderErrorKind, number | null, string | null, string | null][] = [
  ['rejected', 400, 'invalid_value', null],
  ['rejected', 401, 'invalid_api_key', null],
  ['rejected', 403, null, null],
  ['rejected', 404, null, null],
  ['rejected', 413, null, null],
  ['rejected', 422, null, null],
  ['rejected', 404, null, 'ECONNREFUSED'],
  ['busy', 400, 'token_limit_exceeded', null],
  ['busy', 400, 'billing_hard_limit_reached', null],
  ['busy', 429, 'token_limit_exceeded', null],
  ['busy', 429, 'insufficient_quota', null],
  ['busy', 429, null, null],
  ['busy', null, null, 'ECONNREFUSED'],
  ['busy', null, null, 'ENOTFOUND'],
  ['busy', null, null, 'UND_ERR_CONNECT_TIMEOUT'],
  ['ambiguous', 302, null, null],
  ['ambiguous', 408, null, null],
  ['ambiguous', 409, null, null],
  ['ambiguous', 409, 'token_limit_exceeded', null],
  ['ambiguous', 500, null, null],
  ['ambiguous', 500, 'rate_limit_exceeded', null],
  ['ambiguous', 503, null, null],
  ['ambiguous', 529, null, null],
  ['ambiguous', null, null, 'ECONNRESET'],
  ['ambiguous', null, null, 'UND_ERR_HEADERS_TIMEOUT'],
  ['ambiguous', null, null, 'UND_ERR_SOCKET'],
  ['ambiguous', null, null, null],
];

test.each(cases)('a failure is %s: status %s, code %s, cause %s', (kind, status, code, causeCode) => {
  expect(failureKind({ status, code, causeCode })).toBe(kind);
});
