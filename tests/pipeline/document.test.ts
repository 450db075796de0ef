import { describe, expect, test } from 'vitest';
import { parseDocument } from '../../src/pipeline/document.ts';
import { hostileTexts } from './factories.ts';

function exactJson(text: string): string | undefined {
  const document = parseDocument(text);
  return document.ok ? JSON.stringify(document.exact) : undefined;
}

describe('parseDocument', () => {
  test.each([
    '12345678901234567890',
    '0.1234567890123456789',
    '-9007199254740993',
    '1e400',
    '1.5e-400',
    '[1,{"a":100000000000000000000000001}]',
    '1234567890.1234567',
  ])('the number %s keeps its digits', (text) => {
    expect(exactJson(text)).toBe(text);
  });

  test('numbers that JavaScript holds exactly are plain numbers', () => {
    expect(parseDocument('[0.1,-5,999999999999999,1e21]')).toMatchObject({
      exact: [0.1, -5, 999999999999999, 1e21],
    });
  });

  test('digits inside strings stay strings', () => {
    expect(exactJson('{"isbn":"12345678901234567890","n":1}')).toBe('{"isbn":"12345678901234567890","n":1}');
  });

  test('the plain document has numbers where the exact one has their text', () => {
    expect(parseDocument('{"n":12345678901234567890}')).toMatchObject({
      plain: { n: Number('12345678901234567890') },
    });
  });

  test.each(Object.entries(hostileTexts))('text comes through unchanged: %s', (_what, text) => {
    expect(parseDocument(JSON.stringify({ [text]: [text] }))).toMatchObject({
      ok: true,
      exact: { [text]: [text] },
    });
  });

  test.each([
    ['a null character', '{"a":["x\\u0000y"]}', 'U+0000'],
    ['a null character in a key', '{"a":{"\\u0000":1}}', 'U+0000'],
    ['an escaped lone surrogate', '["\\ud83d"]', 'surrogate'],
    ['a lone surrogate as it is', '["\udc00"]', 'surrogate'],
    ['a lone surrogate in a key', '{"\\uDC00":1}', 'surrogate'],
    ['deep nesting', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'nested'],
    ['more values than anybody reads', `[${'1,'.repeat(250_000)}1]`, 'values'],
    ['nesting just beyond the bound', `${'['.repeat(514)}${']'.repeat(514)}`, 'nested'],
    ['a number with too many digits', '1'.repeat(20_000), 'numeric'],
    ['a number with too large an exponent', '1e200000', 'numeric'],
    ['a number with too small an exponent', '[1E-200000]', 'numeric'],
  ])('%s cannot be stored', (_what, text, said) => {
    expect(parseDocument(text)).toEqual({
      ok: false,
      reason: 'not_storable',
      code:
        said === 'values'
          ? 'too_many_values'
          : text.length > 65_536 && said === 'nested'
            ? 'nested_too_deep'
            : null,
      message: expect.stringContaining(said) as string,
    });
  });

  test('surrogate pairs and escaped backslashes are no problem', () => {
    expect(parseDocument('["\\ud83e\\udddf","\\\\u0000","\\\\ud83d"]')).toMatchObject({
      ok: true,
      exact: ['\u{1f9df}', '\\u0000', '\\ud83d'],
    });
  });

  test('nesting within the bound is stored', () => {
    expect(parseDocument(`${'['.repeat(500)}${']'.repeat(500)}`)).toMatchObject({ ok: true });
  });

  test('a key called __proto__ is a key', () => {
    expect(exactJson('{"__proto__":{"x":12345678901234567890}}')).toBe(
      '{"__proto__":{"x":12345678901234567890}}',
    );
  });

  test.each(['', 'yes', '{"a":1', '"x\u0000"', '```json\n{}\n```', '{} {}', 'NaN'])(
    '%j is not JSON',
    (text) => {
      expect(parseDocument(text)).toMatchObject({ ok: false, reason: 'not_json' });
    },
  );
});
