import type { BatchErrorItem } from './batch-object.ts';
import type { RawResult } from './faults.ts';

/** What no count is: beyond doubles' integers, beyond bigint once a few are added, below zero, no number at all. */
const noCounts: unknown[] = [1e308, 9e18, -1, 'many', { valueOf: 1, toString: 1 }, null, [7], 0.5];

/** The same object with all of its numbers, however deep, in the form whose turn it is. */
export function absurdNumbers<T>(value: T, turn: number): T {
  const form = noCounts[turn % noCounts.length];
  const replace = (each: unknown): unknown => {
    if (typeof each === 'number') return form;
    if (typeof each !== 'object' || each === null) return each;
    return Object.fromEntries(Object.entries(each).map(([key, member]) => [key, replace(member)]));
  };
  return replace(value) as T;
}

const noText = '{"toString":1,"valueOf":1}';
const megabytes = JSON.stringify('The server had an error. '.repeat(120_000));
const deep = '['.repeat(200_000) + ']'.repeat(200_000);
const error = (code: string, message: string) =>
  `{"code":${code},"message":${message},"type":${code},"param":null}`;
const response = (status: string, body: string) =>
  `{"status_code":${status},"request_id":"req","body":${body}}`;

// Made when they are first asked for: a simulator that needs none of them shall not hold megabytes.
const results: (() => RawResult)[] = [
  () => ({ response: 'null', error: error(noText, '"x"') }),
  () => ({ response: 'null', error: error(deep, '"x"') }),
  () => ({ response: 'null', error: error('"server_error"', megabytes) }),
  () => ({ response: 'null', error: error('1e308', noText) }),
  () => ({ response: 'null', error: deep }),
  () => ({ response: response(noText, '{}'), error: 'null' }),
  () => ({ response: response('1e308', noText), error: 'null' }),
  () => ({ response: response('400', `{"error":${error(noText, megabytes)}}`), error: 'null' }),
  () => ({ response: response('500', `{"error":${deep}}`), error: 'null' }),
  () => ({ response: response('200', deep), error: 'null' }),
  () => ({ response: response('200', '{"choices":{"toString":1},"output":{"valueOf":1}}'), error: 'null' }),
  () => ({ response: '"none"', error: '[]' }),
];

/** A request's result that says nothing in any type that it should have, in the form whose turn it is. */
export function absurdResult(turn: number): RawResult {
  return results[turn % results.length]!();
}

/** Errors of a failed batch, of which each member is of a wrong type or size. */
export const absurdErrors = [
  { code: { toString: 1, valueOf: 1 }, message: { toString: 1 }, param: [], line: 1e300 },
  { code: 'x'.repeat(1_000_000), message: 'y'.repeat(3_000_000), param: null, line: -1 },
  null,
] as unknown as BatchErrorItem[];
