import { describe, expect, test } from 'vitest';
import { customId, parseCustomId } from '../../src/pipeline/custom-id.ts';
import { hash } from './factories.ts';

describe('customId', () => {
  test('an id parses into what it was made of', () => {
    expect(customId(42, 0, hash)).toBe(`c42-0-${hash}`);
    expect(parseCustomId(`c42-0-${hash}`)).toEqual({ chunkId: 42, n: 0, hash });
  });

  test('the longest id fits the 64 characters that providers take', () => {
    const id = customId(Number.MAX_SAFE_INTEGER, 49_999, hash);
    expect(id).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
    expect(parseCustomId(id)).toEqual({ chunkId: Number.MAX_SAFE_INTEGER, n: 49_999, hash });
  });

  test.each([
    ['a hash with a quote', 1, 1, '"},{"x":"abcdefg'],
    ['an upper-case hash', 1, 1, hash.toUpperCase()],
    ['a short hash', 1, 1, 'abc'],
    ['a negative place', 1, -1, hash],
    ['a fraction', 1.5, 1, hash],
    ['a chunk beyond the safe integers', 2 ** 53, 1, hash],
  ])('%s makes no id', (_what, chunkId, n, badHash) => {
    expect(() => customId(chunkId, n, badHash)).toThrow(
      expect.objectContaining({ code: 'custom_id_invalid' }) as Error,
    );
  });

  test.each([
    '',
    'request-1',
    `c1-2-${hash}\n`,
    ` c1-2-${hash}`,
    `c01-2-${hash}`,
    `c1--2-${hash}`,
    `c1-2-${hash}0`,
    `c1-2-${hash.toUpperCase()}`,
    `c9999999999999999-2-${hash}`,
    `c1-2-${hash}\nc1-2-${hash}`,
  ])('%j is not an id of ours', (text) => {
    expect(parseCustomId(text)).toBeNull();
  });
});
