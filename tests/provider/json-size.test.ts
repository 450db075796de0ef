import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonExcess } from '../../src/json-size.ts';

const limits = { maxDepth: 4, maxValues: 10 };

test.each([
  ['[[[[1]]]]', null],
  ['[[[[[1]]]]]', 'depth'],
  ['{"a":{"b":[[1]]}}', null],
  ['[[1],[2],[3],[4]]', null],
  ['[1,2,3,4,5,6,7,8]', null],
  ['[1,2,3,4,5,6,7,8,9,10]', 'values'],
  ['["[[[[[[[[","{{{{{,,,,,,,,,,,,,","\\\\","\\"[[[[["]', null],
  ['"never closed [[[[[[[', null],
  ['', null],
])('%s: %s', (text, problem) => {
  expect(jsonExcess(text, limits)).toBe(problem);
});

test('JSON of any form is taken where it is within the limits, and where it is not, it is not', () => {
  const size = (value: unknown): { depth: number; values: number } => {
    if (typeof value !== 'object' || value === null) return { depth: 0, values: 1 };
    const inner = Object.values(value).map(size);
    return {
      depth: 1 + Math.max(0, ...inner.map(({ depth }) => depth)),
      values: 1 + inner.reduce((sum, { values }) => sum + values, 0),
    };
  };
  fc.assert(
    fc.property(fc.jsonValue(), fc.nat(6), (value, maxDepth) => {
      const { depth, values } = size(value);
      const text = JSON.stringify(value);
      expect(jsonExcess(text, { maxDepth, maxValues: 1e9 }) === null).toBe(depth <= maxDepth);
      // An empty array or object counts as if it had one value.
      expect(jsonExcess(text, { maxDepth: 1e9, maxValues: 2 * values })).toBeNull();
      if (values > 2) expect(jsonExcess(text, { maxDepth: 1e9, maxValues: values / 2 - 1 })).not.toBeNull();
    }),
    { numRuns: 2000 },
  );
});
