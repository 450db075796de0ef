import { seededRandom } from '../src/simulator/digest.ts';

export type Random = {
  /** In [0, 1). */
  next(): number;
  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number;
  chance(probability: number): boolean;
  pick<Item>(items: readonly Item[]): Item;
};

/**
 * Takes the run's seed and the name of whoever asks; returns a generator of its own. One for all would make each
 * one's choices depend on how fast the others are, and no two runs alike.
 */
export function createRandom(seed: number, name: string): Random {
  let mixed = seed;
  for (const character of name) mixed = Math.imul(mixed, 31) + character.charCodeAt(0);
  const next = seededRandom(mixed >>> 0);
  const between = (least: number, most: number) => least + Math.floor(next() * (most - least + 1));
  return {
    next,
    between,
    chance: (probability) => next() < probability,
    pick: (items) => items[between(0, items.length - 1)]!,
  };
}
