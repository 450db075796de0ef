import { describe, expect, it } from 'vitest';
import type { Simulator } from '../../src/simulator/simulator.ts';
import { chatLine, get, startWith, submitFor } from './harness.ts';

const lines = [chatLine('a', 'x')];

type Page = { data: { id: string; created_at: number }[]; has_more: boolean };
const pageOf = async (simulator: Simulator, path: string): Promise<Page> =>
  (await (await get(simulator, path)).json()) as Page;

describe('a list without end', () => {
  it.each(['batches', 'files'])(
    'has new ids on each page of %s, once there is a batch of its pipeline',
    async (path) => {
      const { simulator, openai } = await startWith('list_endless;pipeline=hostile');
      await submitFor(openai, 'healthy', lines);
      expect((await pageOf(simulator, `/${path}`)).has_more).toBe(false);
      await submitFor(openai, 'hostile', lines);
      const seen = new Set<string>();
      let after = '';
      for (let pages = 1; pages <= 20; pages++) {
        const { data, has_more: hasMore } = await pageOf(simulator, `/${path}?limit=100${after}`);
        expect(hasMore).toBe(true);
        for (const { id, created_at: createdAt } of data) {
          expect(seen.has(id)).toBe(false);
          expect(Math.abs(createdAt - Date.now() / 1000)).toBeLessThan(60);
          seen.add(id);
        }
        after = `&after=${data.at(-1)!.id}`;
      }
    },
  );

  it('is of one kind where the rule names it, and decided where the list begins', async () => {
    const { simulator, openai } = await startWith('list_endless:list@2');
    await submitFor(openai, 'any', lines);
    expect((await pageOf(simulator, '/batches')).has_more).toBe(false);
    const { data, has_more: hasMore } = await pageOf(simulator, '/batches');
    expect(hasMore).toBe(true);
    expect((await pageOf(simulator, '/batches')).has_more).toBe(false);
    expect((await pageOf(simulator, `/batches?after=${data.at(-1)!.id}`)).has_more).toBe(true);
    expect((await pageOf(simulator, '/files')).has_more).toBe(false);
  });
});

it('a broken list has entries of every wrong kind around the real ones', async () => {
  const { simulator, openai } = await startWith('list_broken:list');
  const { id } = await submitFor(openai, 'any', lines);
  const data = (await pageOf(simulator, '/batches')).data as unknown[];
  expect(data).toContainEqual(expect.objectContaining({ id }));
  expect([data[0], data.at(-1)]).toEqual([null, null]);
  expect(data).toContainEqual(expect.objectContaining({ created_at: 1e300 }));
  expect(data).toContainEqual(expect.objectContaining({ id: expect.stringMatching(/^batch_x{6000}$/) }));
  const noText = { toString: 1, valueOf: 1 };
  expect(data).toContainEqual(expect.objectContaining({ metadata: { rowmill_key: noText, other: noText } }));
  expect((await pageOf(simulator, '/files')).data).toHaveLength(1);
});
