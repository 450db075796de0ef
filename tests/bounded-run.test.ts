import { describe, expect, test } from 'vitest';
import { boundedRun } from '../src/bounded-run.ts';

const endless = () => {
  for (;;);
};

describe('boundedRun', () => {
  test('runs to the end, and says so', () => {
    let ran = 0;
    const run = () => {
      ran += 1;
    };
    expect(boundedRun(10_000, run)).toBe(true);
    expect(ran).toBe(1);
  });

  test.each([
    ['a loop', endless],
    ['an expression', () => void /^(a+)+$/.test(`${'a'.repeat(50)}!`)],
    [
      'what catches everything',
      () => {
        for (;;) {
          try {
            endless();
          } catch {
            // goes on
          }
        }
      },
    ],
  ])('interrupts %s', (_what, run) => {
    expect(boundedRun(50, run)).toBe(false);
  });

  test('raises what the run raises', () => {
    const error = new Error('mine');
    expect(() =>
      boundedRun(10_000, () => {
        throw error;
      }),
    ).toThrow(error);
  });

  test('may stand within another', () => {
    const seen: boolean[] = [];
    const inner = () => {
      seen.push(
        boundedRun(50, endless),
        boundedRun(10_000, () => {}),
      );
    };
    expect(boundedRun(20_000, inner)).toBe(true);
    expect(seen).toEqual([false, true]);
    expect(boundedRun(100, () => void boundedRun(60_000, endless))).toBe(false);
    expect(boundedRun(10_000, () => {})).toBe(true);
  });

  test('leaves nothing global', () => {
    const before = Reflect.ownKeys(globalThis).length;
    boundedRun(50, endless);
    expect(Reflect.ownKeys(globalThis)).toHaveLength(before);
  });
});
