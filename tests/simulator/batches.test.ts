import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import {
  chatLine,
  contentOf,
  readResults,
  responsesLine,
  runBatch,
  start,
  submit,
  until,
  upload,
} from './harness.ts';
import { schemas } from './schemas.ts';

const film = schemas.film!;
const lines = (count: number) =>
  Array.from({ length: count }, (_, i) => chatLine(`c-${i}`, `Tell me about row ${i}`, film));

describe('a batch', () => {
  it.each([
    ['/v1/chat/completions' as const, chatLine],
    ['/v1/responses' as const, responsesLine],
  ])('answers every request of %s by its schema', async (endpoint, line) => {
    const { openai, simulator } = await start();
    const validate = new Ajv().compile(film);
    const input = Array.from({ length: 100 }, (_, i) =>
      line(`c-${i}`, `Title: Film ${i}\nPlot: love, war`, film),
    );
    const batch = await runBatch(openai, input, endpoint);
    expect(batch).toMatchObject({
      status: 'completed',
      model: 'gpt-4o-mini-2024-07-18',
      request_counts: { total: 100, completed: 100, failed: 0 },
      errors: null,
      error_file_id: null,
    });
    const results = await readResults(openai, batch.output_file_id);
    expect(new Set(results.map(({ custom_id }) => custom_id)).size).toBe(100);
    let tokens = 0;
    for (const result of results) {
      expect(result).toMatchObject({ error: null, response: { status_code: 200 } });
      expect(result.id).toMatch(/^batch_req_/);
      expect(validate(JSON.parse(contentOf(result)))).toBe(true);
      tokens += (result.response!.body.usage as { total_tokens: number }).total_tokens;
    }
    expect(batch.usage!.total_tokens).toBe(tokens);
    expect(new Set(results.map(contentOf)).size).toBe(100);
    expect(simulator.ledger).toMatchObject({
      executed: 100,
      failed: 0,
      batchesCreated: 1,
      repeatedPrompts: 0,
    });
    expect(simulator.ledger.timesExecuted('c-7')).toBe(1);
    expect(simulator.ledger.timesExecuted('c-100')).toBe(0);
  });

  it('shows every key from the beginning', async () => {
    const { openai } = await start();
    const batch = await submit(openai, lines(1));
    const { _request_id, ...object } = batch as typeof batch & { _request_id?: string };
    expect(_request_id).toMatch(/^req_/);
    expect(Object.keys(object)).toHaveLength(22);
    expect(batch.id).toMatch(/^batch_[0-9a-f]{32}$/);
    expect(batch.id.slice(6, 14)).toBe(batch.created_at.toString(16));
    expect(batch).toMatchObject({ status: 'validating', model: null, expires_at: batch.created_at + 86_400 });
    expect(batch.usage!.total_tokens).toBe(0);
  });

  it('returns its results in another order than the requests had', async () => {
    const { openai } = await start();
    for (const count of [2, 3, 2_000]) {
      const batch = await runBatch(openai, lines(count));
      const ids = (await readResults(openai, batch.output_file_id)).map(({ custom_id }) => custom_id);
      const sent = lines(count).map(({ custom_id }) => custom_id);
      expect(ids).not.toEqual(sent);
      expect(ids.toSorted()).toEqual((sent as string[]).toSorted());
    }
  });

  it('is answered in the same words and order when it is sent again', async () => {
    const { openai, simulator } = await start();
    const read = async () => {
      const batch = await runBatch(openai, lines(700));
      return (await readResults(openai, batch.output_file_id)).map((result) => [
        result.custom_id,
        contentOf(result),
      ]);
    };
    expect(await read()).toEqual(await read());
    expect(simulator.ledger).toMatchObject({ repeatedPrompts: 700, repeatedCustomIds: 700 });
  });

  it('keeps a failed request in the error file, never in the output file', async () => {
    const { openai, simulator } = await start();
    const bad = chatLine('bad', 'x', undefined, { messages: [] });
    const batch = await runBatch(openai, [chatLine('good', 'x'), bad]);
    expect(batch).toMatchObject({
      status: 'completed',
      request_counts: { total: 2, completed: 1, failed: 1 },
    });
    expect((await readResults(openai, batch.output_file_id)).map((line) => line.custom_id)).toEqual(['good']);
    const [error, ...others] = await readResults(openai, batch.error_file_id);
    expect(others).toEqual([]);
    expect(error).toMatchObject({ custom_id: 'bad', error: null, response: { status_code: 400 } });
    expect(error!.response!.body.error).toMatchObject({ type: 'invalid_request_error', param: 'messages' });
    expect(simulator.ledger).toMatchObject({ executed: 2, failed: 1 });
  });

  it('has no output file where every request failed', async () => {
    const { openai } = await start();
    const model = { model: 'no-such-model' };
    const batch = await runBatch(openai, [chatLine('a', 'x', film, model), chatLine('b', 'x', film, model)]);
    expect(batch).toMatchObject({ status: 'completed', output_file_id: null, model: 'no-such-model' });
    const errors = await readResults(openai, batch.error_file_id);
    expect(errors.map(({ response }) => (response!.body.error as { code: string }).code)).toEqual([
      'model_not_found',
      'model_not_found',
    ]);
  });

  it('refuses a request whose schema nothing can satisfy, and executes the others', async () => {
    const { openai } = await start();
    const bad = [
      { $ref: '#' },
      { anyOf: 'x' },
      { type: 'string', pattern: '(' },
      { properties: 7, allOf: [null] },
    ];
    const batch = await runBatch(openai, [
      chatLine('good', 'x', film),
      ...bad.map((schema, i) => chatLine(`bad-${i}`, 'x', schema)),
    ]);
    expect(batch.status).toBe('completed');
    const ids = (await readResults(openai, batch.error_file_id)).map(({ custom_id }) => custom_id);
    expect(ids).toContain('bad-0');
    expect(ids).not.toContain('good');
  });

  it('cuts an answer at the limit of the request, and says so', async () => {
    const { openai } = await start();
    const batch = await runBatch(openai, [chatLine('a', 'x', film, { max_completion_tokens: 2 })]);
    const [result] = await readResults(openai, batch.output_file_id);
    expect(result!.response!.body.choices).toMatchObject([{ finish_reason: 'length' }]);
  });

  it('carries U+2028 through upload, answer and output unchanged', async () => {
    const { openai } = await start();
    const batch = await runBatch(openai, [
      chatLine('a\u2028b', 'one\u2028two\u0085three'),
      chatLine('c', 'x'),
    ]);
    const result = (await readResults(openai, batch.output_file_id)).find(
      (line) => line.custom_id === 'a\u2028b',
    );
    expect(contentOf(result!)).toBe('In short: one\u2028two\u0085three');
  });

  it('finishes although its input file is deleted meanwhile', async () => {
    const { openai } = await start({ delays: { perRequestMs: 5 } });
    const { id, input_file_id } = await submit(openai, lines(20));
    await until(openai, id, (batch) => batch.status === 'in_progress');
    await openai.files.delete(input_file_id);
    expect(await until(openai, id)).toMatchObject({ status: 'completed', request_counts: { completed: 20 } });
  });

  it('gives its output files the expiry that was asked for', async () => {
    const { openai } = await start();
    const { id } = await openai.batches.create({
      input_file_id: await upload(openai, `${JSON.stringify(lines(1)[0])}\n`),
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      metadata: { key: 'value' },
      output_expires_after: { anchor: 'created_at', seconds: 7_200 },
    });
    const batch = await until(openai, id);
    expect(batch.metadata).toEqual({ key: 'value' });
    const file = await openai.files.retrieve(batch.output_file_id!);
    expect(file).toMatchObject({ purpose: 'batch_output', expires_at: file.created_at + 7_200 });
  });

  it('stays below the memory of its own file while 50,000 requests run', async () => {
    const { openai } = await start();
    const padding = 'A sentence that says very little of any film. '.repeat(24);
    const content = Array.from({ length: 50_000 }, (_, i) => {
      return `${JSON.stringify(chatLine(`c-${i}`, `Title: Film ${i}\nDescription: ${padding}`, film))}\n`;
    }).join('');
    const inputFileId = await upload(openai, content);
    const params = {
      input_file_id: inputFileId,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    } as const;
    let held = 0;
    const { id } = await openai.batches.create(params);
    const before = process.memoryUsage().arrayBuffers;
    const batch = await until(openai, id, ({ status }) => {
      // Buffers, which hold whatever is read and written: unlike the heap they do not wait for a collection.
      held = Math.max(held, process.memoryUsage().arrayBuffers - before);
      return status === 'completed' || status === 'failed';
    });
    expect(batch.request_counts).toMatchObject({ total: 50_000, completed: 50_000 });
    expect(held).toBeLessThan(content.length / 2);
  });
});

describe('a cancelled batch', () => {
  it('returns what was executed, and names the rest in the error file', async () => {
    const { openai, simulator } = await start({ delays: { perRequestMs: 3 } });
    const { id } = await submit(openai, lines(5_000));
    await until(openai, id, (batch) => (batch.request_counts?.completed ?? 0) >= 5);
    expect(await openai.batches.cancel(id)).toMatchObject({ status: 'cancelling' });
    const batch = await until(openai, id);
    expect(batch.status).toBe('cancelled');
    expect(batch.cancelling_at).not.toBeNull();
    expect(batch.cancelled_at).not.toBeNull();
    const done = await readResults(openai, batch.output_file_id);
    const rest = await readResults(openai, batch.error_file_id);
    expect(done.length).toBe(batch.request_counts!.completed);
    expect(done.length).toBe(simulator.ledger.executed);
    expect(done.length + rest.length).toBe(5_000);
    expect(rest.every(({ response, error }) => response === null && error?.code === 'batch_cancelled')).toBe(
      true,
    );
    expect(await openai.batches.cancel(id)).toMatchObject({ status: 'cancelled' });
  });

  it('has no files where nothing had been accepted', async () => {
    const { openai, simulator } = await start({ delays: { validatingMs: 60_000 } });
    const { id } = await submit(openai, lines(3));
    await openai.batches.cancel(id);
    expect(await until(openai, id)).toMatchObject({
      status: 'cancelled',
      output_file_id: null,
      error_file_id: null,
    });
    expect(simulator.ledger.executed).toBe(0);
  });

  it('is refused once it has ended', async () => {
    const { openai } = await start();
    const { id } = await runBatch(openai, lines(1));
    await expect(openai.batches.cancel(id)).rejects.toMatchObject({
      status: 409,
      code: null,
      message: expect.stringContaining("Cannot cancel a batch with status 'completed'."),
    });
  });
});

describe('an expired batch', () => {
  it('names what was left in the error file', async () => {
    const { openai } = await start({ faults: { expires: (_batch, executed) => executed >= 2 } });
    const batch = await runBatch(openai, lines(5));
    expect(batch.status).toBe('expired');
    expect(await readResults(openai, batch.output_file_id)).toHaveLength(2);
    const rest = await readResults(openai, batch.error_file_id);
    expect(rest.map(({ error }) => error?.code)).toEqual(Array(3).fill('batch_expired'));
  });
});
