import { describe, expect, test } from 'vitest';
import { boundsProblem } from '../../src/pipeline/json-bounds.ts';

const padding = ' '.repeat(65_536);
const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;

describe('boundsProblem', () => {
  test.each([
    ['deeper than 1,000 arrays', nested(1_001), 'nested_too_deep'],
    ['deeper than 1,000 objects', `${'{"a":'.repeat(1_001)}1${'}'.repeat(1_001)}`, 'nested_too_deep'],
    ['never closed', '['.repeat(100_000), 'nested_too_deep'],
    ['of too many items', `[${'1,'.repeat(250_000)}1]`, 'too_many_values'],
    ['of too many members', `{${'"a":1,'.repeat(250_000)}"b":1}`, 'too_many_values'],
    ['of too many empty arrays', `[${'[],'.repeat(125_000)}[]]`, 'too_many_values'],
  ])('a text %s is beyond reason', (_what, text, code) => {
    expect(boundsProblem(text + padding)).toMatchObject({ code });
  });

  test.each([
    ['within the bounds', `[${nested(999)},${'1,'.repeat(240_000)}1]`],
    ['of brackets that close again', `[${'[],'.repeat(2_000)}1]`],
    ['of brackets within a string', JSON.stringify('['.repeat(2_000))],
    ['of commas within a string', JSON.stringify(','.repeat(300_000))],
    ['of brackets behind an escaped quote', JSON.stringify(`"${'['.repeat(2_000)}`)],
    ['of brackets behind escaped backslashes', JSON.stringify(`\\\\"${'['.repeat(2_000)}\\`)],
    ['of a string that never ends', `"${'['.repeat(2_000)}\\`],
    ['of nothing', ''],
  ])('a text %s is not', (_what, text) => {
    expect(boundsProblem(text + padding)).toBeNull();
    expect(boundsProblem(padding + text)).toBeNull();
  });

  test('brackets after a string count again', () => {
    expect(boundsProblem(`["a\\\\",${nested(1_001)}]${padding}`)).toMatchObject({ code: 'nested_too_deep' });
  });
});
