import type OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { createFaults } from '../../src/simulator/create-faults.ts';
import { parseFault } from '../../src/simulator/fault-rules.ts';
import { chatLine, readResults, responsesLine, runBatch, start, submit, until } from './harness.ts';
import { schemas } from './schemas.ts';

const lines = (count: number) =>
  Array.from({ length: count }, (_, i) => chatLine(`c-${i}`, `Row ${i} of many`, schemas.film));

type Usage = Record<string, number> & {
  prompt_tokens_details?: { cached_tokens: number };
  input_tokens_details?: { cached_tokens: number };
};

/** What a batch's own lines tell, summed up in the form of a batch. */
async function paidIn(openai: OpenAI, batch: OpenAI.Batch) {
  const sum = {
    input_tokens: 0,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 0,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 0,
  };
  for (const line of await readResults(openai, batch.output_file_id)) {
    const usage = line.response!.body.usage as Usage;
    const { cached_tokens } = (usage.prompt_tokens_details ?? usage.input_tokens_details)!;
    expect(Number.isInteger(cached_tokens)).toBe(true);
    sum.input_tokens += usage.prompt_tokens ?? usage.input_tokens!;
    sum.input_tokens_details.cached_tokens += cached_tokens;
    sum.output_tokens += usage.completion_tokens ?? usage.output_tokens!;
    sum.total_tokens += usage.total_tokens!;
  }
  return sum;
}

describe("a batch's usage", () => {
  it.each([
    ['completed', []],
    ['completed', ['request_fails=0.3', 'answer_refused=0.2', 'answer_cut=0.2']],
    ['expired', ['expires']],
    ['cancelled', ['cancels;share=0.4']],
  ])('is the sum over its paid lines once it is %s: %j', async (status, rules) => {
    const { openai, simulator } = await start({
      faults: createFaults(rules.map(parseFault)),
      cachedShare: 0.3,
    });
    const batch = await runBatch(openai, lines(40));
    expect(batch.status).toBe(status);
    expect(batch.usage!.input_tokens_details.cached_tokens).toBeGreaterThan(0);
    expect(batch.usage).toEqual(await paidIn(openai, batch));
    expect(simulator.ledger).toMatchObject({
      inputTokens: batch.usage!.input_tokens,
      outputTokens: batch.usage!.output_tokens,
    });
  });

  it('is the sum over its paid lines where a client cancelled it', async () => {
    const { openai } = await start({ delays: { perRequestMs: 3 }, cachedShare: 1 });
    const { id } = await submit(openai, lines(500));
    await until(openai, id, (batch) => (batch.request_counts?.completed ?? 0) >= 5);
    await openai.batches.cancel(id);
    const batch = await until(openai, id);
    expect(batch).toMatchObject({ status: 'cancelled' });
    expect(batch.usage!.total_tokens).toBeGreaterThan(0);
    expect(batch.usage).toEqual(await paidIn(openai, batch));
  });

  it('is zero from the beginning, and stays so where nothing was paid for', async () => {
    const { openai } = await start({
      faults: createFaults([parseFault('fails_validation@1')]),
      cachedShare: 1,
    });
    const zero = {
      input_tokens: 0,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: 0,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 0,
    };
    const created = await submit(openai, lines(2));
    expect(created.usage).toEqual(zero);
    expect((await until(openai, created.id)).usage).toEqual(zero);
    const refused = { model: 'no-such-model' };
    expect((await runBatch(openai, [chatLine('a', 'x', undefined, refused)])).usage).toEqual(zero);
  });

  it("counts no failed request's tokens, whatever a test's own fault says", async () => {
    const failure = { status: 500, body: 'null', promptDigest: 0, isFlawed: false };
    const tokens = { inputTokens: 5, cachedTokens: 5, outputTokens: 5 };
    const { openai, simulator } = await start({ faults: { outcome: () => ({ ...failure, ...tokens }) } });
    expect((await runBatch(openai, lines(2))).usage).toMatchObject({ input_tokens: 0, total_tokens: 0 });
    expect(simulator.ledger).toMatchObject({ failed: 2, inputTokens: 0 });
  });
});

describe('the cached share', () => {
  it.each([0, 0.3, 1])(
    'of %d is told by lines of both endpoints, never more than the input',
    async (cachedShare) => {
      const { openai } = await start({ cachedShare });
      const endpoints = [
        ['/v1/chat/completions', chatLine],
        ['/v1/responses', responsesLine],
      ] as const;
      for (const [endpoint, line] of endpoints) {
        const batch = await runBatch(openai, [line('a', 'A prompt', schemas.film)], endpoint);
        const { input_tokens, input_tokens_details } = await paidIn(openai, batch);
        expect(input_tokens_details.cached_tokens).toBe(Math.floor(input_tokens * cachedShare));
        expect(batch.usage!.input_tokens_details).toEqual(input_tokens_details);
      }
    },
  );

  it('is told by the synchronous endpoints as well, and is none by default', async () => {
    const ask = async (options: { cachedShare?: number }) => {
      const { openai } = await start(options);
      const messages = [{ role: 'user' as const, content: 'A prompt' }];
      const { usage } = await openai.chat.completions.create({ model: 'm', messages });
      return usage!.prompt_tokens_details!.cached_tokens;
    };
    expect(await ask({})).toBe(0);
    expect(await ask({ cachedShare: 0.5 })).toBe(5);
  });
});
