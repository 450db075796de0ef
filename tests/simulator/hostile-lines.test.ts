import { describe, expect, it } from 'vitest';
import { chatLine, ended, readResults, startWith, submitFor } from './harness.ts';

const hash = '0123456789abcdef';
const lines = (chunk: number, count: number) =>
  Array.from({ length: count }, (_, i) => chatLine(`c${chunk}-${i}-${hash}`, `Row ${i}`));

async function resultsOf(rule: string, count: number) {
  const { simulator, openai } = await startWith(`${rule};pipeline=hostile`);
  const run = async (pipeline: string, chunk: number) => {
    const { id } = await submitFor(openai, pipeline, lines(chunk, count));
    const batch = await ended(simulator, id);
    return { output: await readResults(openai, batch.output_file_id), error: batch.error_file_id };
  };
  const healthy = await run('healthy', 1);
  expect(healthy.output).toHaveLength(count);
  return { openai, simulator, ...(await run('hostile', 2)) };
}

const idsOf = (results: { custom_id: string }[]) => results.map((each) => each.custom_id);

describe('hostile lines', () => {
  it("claim to answer rows of another pipeline's batch", async () => {
    const { output } = await resultsOf('line_foreign', 3);
    const ids = idsOf(output).toSorted();
    expect(ids).toHaveLength(6);
    expect(ids.slice(0, 3).every((id) => id.startsWith('c1-'))).toBe(true);
    expect(ids.slice(3)).toEqual(idsOf(lines(2, 3) as { custom_id: string }[]));
  });

  it('claim to answer places that are of another row, of none, or beyond what a number holds', async () => {
    const { output } = await resultsOf('line_misplaced', 14);
    const ids = idsOf(output).filter((id) => !/^c2-(\d|1\d)-0123456789abcdef$/.test(id));
    for (const part of ['c2-9007199254740993-', 'c9007199254740993-', 'c3-', 'c2--1-', '\u0000'])
      expect(
        ids.some((id) => id.includes(part)),
        part,
      ).toBe(true);
    // A place that is there as well, so that two lines are of one custom_id.
    expect(idsOf(output).filter((id) => id === `c2-1-${hash}`)).toHaveLength(2);
  });

  it('tell usages that are none, around an answer that is right', async () => {
    const { output, simulator } = await resultsOf('line_absurd_usage', 8);
    const tokens = output.map(
      ({ response }) => (response!.body.usage as { prompt_tokens: unknown }).prompt_tokens,
    );
    for (const form of [1e308, 9e18, -1, 'many', { toString: 1, valueOf: 1 }, null])
      expect(tokens).toContainEqual(form);
    expect(simulator.ledger.summary()).toMatchObject({ failed: 0, spoiled: 0 });
  });

  it('tell errors whose parts are objects, very deep or very long, and are not paid for', async () => {
    const { output, error, openai, simulator } = await resultsOf('request_absurd', 12);
    expect(output).toEqual([]);
    const text = await (await openai.files.content(error!)).text();
    const results = text.trimEnd().split('\n');
    expect(results).toHaveLength(12);
    expect(
      results.filter((line) => line.includes('{"code":{"toString":1,"valueOf":1}')).length,
    ).toBeGreaterThan(1);
    expect(results.some((line) => line.includes('['.repeat(200_000)))).toBe(true);
    expect(results.some((line) => line.includes('"status_code":{"toString":1'))).toBe(true);
    expect(Math.max(...results.map((line) => line.length))).toBeGreaterThan(2_000_000);
    expect(simulator.ledger.summary()).toMatchObject({ executed: 24, failed: 12 });
  });
});
