import { describe, expect, test } from 'vitest';
import { normalizeUsage, sumUsage } from '../../src/pipeline/usage.ts';

describe('normalizeUsage', () => {
  test('both endpoints count the same things', () => {
    const expected = { inputTokens: 100, cachedTokens: 64, outputTokens: 20 };
    expect(
      normalizeUsage({
        prompt_tokens: 100,
        completion_tokens: 20,
        prompt_tokens_details: { cached_tokens: 64 },
      }),
    ).toEqual(expected);
    expect(
      normalizeUsage({ input_tokens: 100, output_tokens: 20, input_tokens_details: { cached_tokens: 64 } }),
    ).toEqual(expected);
  });

  test('details may be missing', () => {
    expect(normalizeUsage({ prompt_tokens: 5, prompt_tokens_details: null })).toEqual({
      inputTokens: 5,
      cachedTokens: 0,
      outputTokens: 0,
    });
  });

  test.each([undefined, null, 'x', {}, { prompt_tokens: 0, completion_tokens: 0 }])(
    '%j tells nothing',
    (wire) => {
      expect(normalizeUsage(wire)).toBeNull();
    },
  );

  test('whatever is no count is 0', () => {
    expect(
      normalizeUsage({ input_tokens: -3, output_tokens: 2.9, input_tokens_details: { cached_tokens: 'x' } }),
    ).toEqual({ inputTokens: 0, cachedTokens: 0, outputTokens: 2 });
  });

  test.each([1e308, 9e18, Number.POSITIVE_INFINITY, 1e15 + 1])(
    '%d tokens are the most that count',
    (count) => {
      expect(
        normalizeUsage({
          input_tokens: count,
          output_tokens: count,
          input_tokens_details: { cached_tokens: count },
        }),
      ).toEqual({ inputTokens: 1e15, cachedTokens: 1e15, outputTokens: 1e15 });
    },
  );

  test.each([-1, Number.NaN, '7', {}, [7], true])('%j tokens are none', (count) => {
    expect(normalizeUsage({ input_tokens: 1, output_tokens: count })).toMatchObject({ outputTokens: 0 });
  });
});

describe('sumUsage', () => {
  test('a sum has the bound of a single usage', () => {
    const usage = { inputTokens: 9e14, cachedTokens: 9e14, outputTokens: 9e14 };
    const most = { inputTokens: 1e15, cachedTokens: 1e15, outputTokens: 1e15 };
    expect(sumUsage(Array(1_000).fill(usage))).toEqual(most);
  });

  test('what was not told adds nothing', () => {
    const usage = { inputTokens: 1, cachedTokens: 2, outputTokens: 3 };
    expect(sumUsage([usage, null, usage])).toEqual({ inputTokens: 2, cachedTokens: 4, outputTokens: 6 });
    expect(usage).toEqual({ inputTokens: 1, cachedTokens: 2, outputTokens: 3 });
    expect(sumUsage([null, null])).toBeNull();
  });
});
