import type OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { chatLine, readResults, runBatch, start, startWith } from './harness.ts';

const lines = (count: number) => Array.from({ length: count }, (_, i) => chatLine(`c-${i}`, `Row ${i}`));

/** The lines of a batch's output file as they stand there. */
async function textsOf(openai: OpenAI, batch: OpenAI.Batch): Promise<string[]> {
  const text = await (await openai.files.content(batch.output_file_id!)).text();
  expect(text.endsWith('\n')).toBe(true);
  return text.slice(0, -1).split('\n');
}

describe('a request of a batch', () => {
  it('fails with the statuses by turns, in the form of the error file, and is not paid for', async () => {
    const { openai, simulator } = await startWith('request_fails@1,3,5,7,9');
    const batch = await runBatch(openai, lines(10));
    expect(batch).toMatchObject({ status: 'completed', request_counts: { completed: 5, failed: 5 } });
    const errors = (await readResults(openai, batch.error_file_id)).sort((a, b) =>
      a.custom_id.localeCompare(b.custom_id),
    );
    expect(errors.map(({ custom_id, error }) => [custom_id, error])).toEqual(
      ['c-0', 'c-2', 'c-4', 'c-6', 'c-8'].map((id) => [id, null]),
    );
    expect(errors.map(({ response }) => response!.status_code)).toEqual([400, 429, 500, 0, 400]);
    expect(errors.map(({ response }) => response!.body?.error)).toMatchObject([
      { type: 'invalid_request_error', code: 'invalid_value', message: expect.any(String) },
      { type: 'requests', code: 'rate_limit_exceeded', param: null },
      { type: 'server_error', code: null, param: null },
      undefined as never,
      { type: 'invalid_request_error' },
    ]);
    expect(simulator.ledger.summary()).toMatchObject({ executed: 10, failed: 5, spoiled: 0 });
    const { input_tokens } = batch.usage!;
    expect(input_tokens).toBe(simulator.ledger.inputTokens);
  });

  it('fails with the status that the rule says', async () => {
    const { openai } = await startWith('request_fails;status=503');
    const batch = await runBatch(openai, lines(3));
    expect(batch).toMatchObject({ output_file_id: null, request_counts: { failed: 3 } });
    const errors = await readResults(openai, batch.error_file_id);
    expect(errors.map(({ response }) => response!.status_code)).toEqual([503, 503, 503]);
  });

  it.each([
    ['status=429;code=insufficient_quota', 429, 'insufficient_quota', 'insufficient_quota'],
    ['code=insufficient_quota', 429, 'insufficient_quota', 'insufficient_quota'],
    ['status=429', 429, 'rate_limit_exceeded', 'requests'],
    ['status=408', 408, 'timeout', 'timeout'],
    ['status=400;code=context_length_exceeded', 400, 'context_length_exceeded', 'invalid_request_error'],
    ['status=400', 400, 'invalid_value', 'invalid_request_error'],
    ['status=500', 500, null, 'server_error'],
    ['status=500;code=server_error', 500, 'server_error', 'server_error'],
    ['code=never_seen', 400, 'never_seen', 'invalid_request_error'],
    ['code=constructor', 400, 'constructor', 'invalid_request_error'],
  ])('fails with the code that the rule says, or the usual one: %s', async (options, status, code, type) => {
    const { openai, simulator } = await startWith(`request_fails@2;${options}`);
    const batch = await runBatch(openai, lines(3));
    expect(batch).toMatchObject({ status: 'completed', request_counts: { completed: 2, failed: 1 } });
    const [line] = await readResults(openai, batch.error_file_id);
    expect(line).toMatchObject({ custom_id: 'c-1', error: null, response: { status_code: status } });
    expect(line!.response!.body.error).toMatchObject({ code, type, message: expect.any(String) });
    expect(simulator.ledger.summary()).toMatchObject({ failed: 1, spoiled: 0 });
  });

  it('fails where its prompt holds the text of the rule, and is counted there alone', async () => {
    const { openai, simulator } = await startWith('request_fails@1,2;status=400;prompt=Row 1');
    const failedIn = async () => {
      const { error_file_id } = await runBatch(openai, lines(12));
      return (await readResults(openai, error_file_id)).map(({ custom_id }) => custom_id).toSorted();
    };
    expect(await failedIn()).toEqual(['c-1', 'c-10']);
    expect(await failedIn()).toEqual([]);
    expect(simulator.ledger.failed).toBe(2);
  });

  it('fails bare: without a response, with an error of its own', async () => {
    const { openai, simulator } = await startWith('request_fails_bare@2');
    const batch = await runBatch(openai, lines(3));
    expect(batch.request_counts).toMatchObject({ completed: 2, failed: 1 });
    expect(await readResults(openai, batch.error_file_id)).toEqual([
      {
        id: expect.stringMatching(/^batch_req_/),
        custom_id: 'c-1',
        response: null,
        error: { code: 'server_error', message: expect.any(String) },
      },
    ]);
    expect(simulator.ledger).toMatchObject({ executed: 3, failed: 1 });
    expect(simulator.ledger.timesExecuted('c-1')).toBe(1);
  });
});

describe('a line', () => {
  it('is missing: its request was executed and paid for, and its answer is spoiled', async () => {
    const { openai, simulator } = await startWith('line_missing@2');
    const batch = await runBatch(openai, lines(4));
    expect(batch.request_counts).toMatchObject({ completed: 4 });
    const ids = (await readResults(openai, batch.output_file_id)).map(({ custom_id }) => custom_id);
    expect(ids.toSorted()).toEqual(['c-0', 'c-2', 'c-3']);
    expect(simulator.ledger.summary()).toMatchObject({ executed: 4, spoiled: 1, unexplainedRepeats: 0 });
  });

  it('is doubled, to the letter', async () => {
    const { openai, simulator } = await startWith('line_doubled@2');
    const texts = await textsOf(openai, await runBatch(openai, lines(3)));
    expect(texts).toHaveLength(4);
    expect(new Set(texts).size).toBe(3);
    expect(texts.filter((text) => text.includes('"custom_id":"c-1"'))).toHaveLength(2);
    expect(simulator.ledger.summary()).toMatchObject({ executed: 3, spoiled: 0 });
  });

  it("is followed by a stranger's", async () => {
    const { openai, simulator } = await startWith('line_unknown@2,3');
    const batch = await runBatch(openai, lines(3));
    const results = await readResults(openai, batch.output_file_id);
    expect(results.map(({ custom_id }) => custom_id).toSorted()).toEqual([
      ...['c-0', 'c-1', 'c-2'],
      ...['stranger-1', 'stranger-2'],
    ]);
    for (const { response } of results) expect(response!.status_code).toBe(200);
    expect(simulator.ledger.summary()).toMatchObject({ executed: 3, spoiled: 0 });
  });

  it('is truncated in its middle, and the lines around it are whole', async () => {
    const { openai, simulator } = await startWith('line_truncated@2');
    const texts = await textsOf(openai, await runBatch(openai, lines(4)));
    expect(texts).toHaveLength(4);
    const broken = texts.filter((text) => !text.endsWith('}'));
    expect(broken).toHaveLength(1);
    expect(() => JSON.parse(broken[0]!)).toThrow();
    expect(broken[0]).toContain('"custom_id":"c-1"');
    for (const text of texts) if (text !== broken[0]) JSON.parse(text);
    expect(simulator.ledger.summary()).toMatchObject({ executed: 4, spoiled: 1 });
  });

  it('of a failed request may be lost as well, which spoils nothing that was paid for', async () => {
    const { openai, simulator } = await startWith('request_fails@1', 'line_missing@1');
    const batch = await runBatch(openai, lines(2));
    expect(batch).toMatchObject({ error_file_id: null, request_counts: { completed: 1, failed: 1 } });
    expect(simulator.ledger.summary()).toMatchObject({ failed: 1, spoiled: 0 });
  });

  it('that is lost explains one repeat of its prompt, and no second one', async () => {
    const { openai, simulator } = await startWith('line_missing@1', 'line_truncated@2');
    await runBatch(openai, lines(3));
    await runBatch(openai, lines(2));
    expect(simulator.ledger.summary()).toMatchObject({
      repeatedPrompts: 2,
      spoiled: 2,
      unexplainedRepeats: 0,
    });
    await runBatch(openai, lines(3));
    expect(simulator.ledger.summary()).toMatchObject({ repeatedPrompts: 5, unexplainedRepeats: 3 });
  });

  it("is spoiled by a test's own fault just so, and not by one that rewrites it", async () => {
    const { openai, simulator } = await start({
      faults: {
        written(_batch, line) {
          const result = JSON.parse(line) as { custom_id: string };
          if (result.custom_id === 'c-0') return [];
          if (result.custom_id === 'c-1') return [line.slice(0, 50)];
          return [JSON.stringify({ ...result, note: 'rewritten' })];
        },
      },
    });
    await runBatch(openai, lines(4));
    expect(simulator.ledger.summary()).toMatchObject({ executed: 4, spoiled: 2 });
  });
});
