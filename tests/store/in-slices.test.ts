import { describe, expect, it } from 'vitest';
import { claimInSlices, giveInSlices } from '../../src/store/in-slices.ts';

describe('a claim in slices', () => {
  const claim = async (most: number, maxRows: number, there: number, failAt = Number.POSITIVE_INFINITY) => {
    const asked: number[] = [];
    const rows = await claimInSlices(most, maxRows, async (rows) => {
      if (asked.length === failAt) throw new Error('away');
      const before = asked.reduce((sum, each) => sum + each, 0);
      asked.push(rows);
      return Array.from({ length: Math.max(0, Math.min(rows, there - before)) }, (_, at) => before + at);
    });
    return { rows: rows.length, asked };
  };

  it.each([
    [10, Number.POSITIVE_INFINITY, 100, { rows: 10, asked: [10] }],
    [10, Number.POSITIVE_INFINITY, 3, { rows: 3, asked: [10] }],
    [10, 4, 100, { rows: 10, asked: [4, 4, 2] }],
    [10, 4, 6, { rows: 6, asked: [4, 4] }],
    [10, 4, 8, { rows: 8, asked: [4, 4, 2] }],
    [10, 4, 0, { rows: 0, asked: [4] }],
  ])('of %i by %i where there are %i', async (most, maxRows, there, expected) => {
    expect(await claim(most, maxRows, there)).toEqual(expected);
  });

  it('keeps what it has where a later call fails, and rejects where the first does', async () => {
    expect(await claim(10, 4, 100, 2)).toEqual({ rows: 8, asked: [4, 4] });
    await expect(claim(10, 4, 100, 0)).rejects.toThrow('away');
  });
});

describe('what is given in slices', () => {
  it('goes in order, each once, and an empty list in one call', async () => {
    const asked: number[][] = [];
    const ask = async (some: number[]) => {
      asked.push(some);
      return some;
    };
    expect(await giveInSlices([1, 2, 3, 4, 5], 2, ask)).toEqual([1, 2, 3, 4, 5]);
    expect(asked).toEqual([[1, 2], [3, 4], [5]]);
    expect(await giveInSlices([], 2, ask)).toEqual([]);
    expect(asked).toHaveLength(4);
  });
});
