import { describe, expect, test } from 'vitest';
import { boundedRun } from '../../src/bounded-run.ts';
import { compileCheck } from '../../src/pipeline/answer-check.ts';

const checkOf = (schema: object) => compileCheck(JSON.stringify(schema)).check;

describe('expressions', () => {
  const evil = { pattern: '^(a+)+$' };
  const text = `${'a'.repeat(50)}!`;

  test.each([
    ['pattern', { properties: { a: evil } }],
    ['pattern behind a reference', { properties: { a: { $ref: '#/$defs/x' } }, $defs: { x: evil } }],
    ['pattern behind a reference into data', { properties: { a: { $ref: '#/default' } }, default: evil }],
    ['pattern of names', { propertyNames: evil }],
    [
      'pattern of a part',
      { anyOf: [{ properties: { a: evil } }, false], if: { properties: { a: evil } }, else: {} },
    ],
    ['pattern among the items', { properties: { list: { items: evil, contains: evil } } }],
    ['patternProperties', { patternProperties: { [evil.pattern]: { type: 'number' } } }],
    [
      'names beside patternProperties',
      { patternProperties: { [evil.pattern]: {} }, additionalProperties: false },
    ],
    [
      'values beside patternProperties',
      { patternProperties: { [evil.pattern]: {} }, additionalProperties: { type: 'number' } },
    ],
    [
      'what patternProperties refer to',
      { patternProperties: { [evil.pattern]: { $ref: '#/patternProperties/x' }, x: evil } },
    ],
    ['format regex', { properties: { a: { format: 'regex' } } }],
  ])('are never run: %s', (_what, schema) => {
    const check = checkOf(schema);
    let found: string | null = 'not looked';
    const isInTime = boundedRun(2_000, () => {
      found = check({ a: text, list: [text], [text]: text });
    });
    expect([isInTime, found]).toEqual([true, null]);
  });

  test('that are none do no harm', () => {
    const schema = {
      properties: { a: { pattern: '(' } },
      patternProperties: { '[': {} },
      additionalProperties: false,
    };
    expect(checkOf(schema)({ a: 'x', b: 1 })).toBeNull();
  });

  test('do not take a property of their name, or data, with them', () => {
    const schema = {
      properties: { pattern: { const: { pattern: 'a' } }, uniqueItems: { enum: [{ uniqueItems: true }] } },
      required: ['pattern'],
      additionalProperties: false,
    };
    const check = checkOf(schema);
    expect(check({ pattern: { pattern: 'a' }, uniqueItems: { uniqueItems: true } })).toBeNull();
    expect(check({ pattern: { pattern: 'b' } })).toContain('/pattern');
    expect(check({ pattern: { pattern: 'a' }, uniqueItems: {} })).toContain('/uniqueItems');
    expect(check({})).toContain("'pattern'");
    expect(check({ pattern: { pattern: 'a' }, b: 1 })).toContain('additional');
  });
});

test('uniqueItems compares nothing', () => {
  const items = Array.from({ length: 20_000 }, (_, at) => ({ at }));
  const check = checkOf({ properties: { a: { uniqueItems: true } } });
  expect(boundedRun(2_000, () => void check({ a: items }))).toBe(true);
  expect(check({ a: [1, 1] })).toBeNull();
});

test('a schema that calls itself asynchronous is checked like any other', () => {
  const check = checkOf({ $async: true, required: ['a'] });
  expect(check({})).toContain("'a'");
  expect(check({ a: 1 })).toBeNull();
});

describe('a schema that refers to itself', () => {
  const node = { type: 'object', required: ['a'], properties: { a: { $ref: '#/$defs/node' } } };
  const deep = (levels: number): unknown => JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`);

  test.each(['anyOf', 'oneOf'])('keeps the first error of %s, not each of a million', (keyword) => {
    const check = checkOf({ $ref: '#/$defs/node', $defs: { node: { [keyword]: [node, node] } } });
    const before = process.memoryUsage().heapUsed;
    expect(check(deep(2))).toContain('/a/a must be object');
    check(deep(18));
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(100_000_000);
    expect(checkOf({ [keyword]: [{ type: 'string' }, { type: 'null' }] })(1)).toContain('must be string');
    expect(checkOf({ [keyword]: [{ type: 'string' }, { type: 'null' }] })(null)).toBeNull();
    expect(checkOf({ oneOf: [{}, { type: 'null' }] })(null)).toContain('exactly one');
  });

  test('may overflow the stack, which is a mismatch', () => {
    const check = checkOf({ $ref: '#/$defs/node', $defs: { node: { allOf: [node] } } });
    expect(check(deep(100_000))).toContain('could not be checked');
  });
});

test('the weight of a check without references is the size of its schema', () => {
  expect(compileCheck('{"type": "object"}').weight).toBe(17);
  expect(compileCheck('{"\\u0024ref":"#/$defs/a","$defs":{"a":{}}}').weight).toBe(Number.POSITIVE_INFINITY);
});

describe('a schema', () => {
  test.each([
    ['nested deeper than any', `${'{"not":'.repeat(20_000)}{}${'}'.repeat(20_000)}`],
    ['that overflows the stack', `${'{"not":'.repeat(6_000)}{}${'}'.repeat(6_000)}`],
    ['of too many values', `{"enum":[${'1,'.repeat(250_000)}1]}`],
  ])('%s is refused', (_what, text) => {
    expect(() => compileCheck(text)).toThrow();
  });
});
