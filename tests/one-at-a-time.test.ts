import { expect, it } from 'vitest';
import { oneAtATime } from '../src/one-at-a-time.ts';

it('turns are given in the order in which they were asked for, each when the one before is back', async () => {
  const turns = oneAtATime();
  const order: number[] = [];
  const ends = [1, 2, 3].map(async (n) => {
    const giveBack = await turns.turn();
    order.push(n);
    return giveBack;
  });
  const first = await ends[0]!;
  await new Promise(setImmediate);
  expect(order).toEqual([1]);
  first();
  // Twice is once.
  first();
  const second = await ends[1]!;
  await new Promise(setImmediate);
  expect(order).toEqual([1, 2]);
  second();
  (await ends[2]!)();
  expect(order).toEqual([1, 2, 3]);
});
