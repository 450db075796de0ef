import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { ApiError } from '../../src/simulator/errors.ts';
import { chatLine, start, submit } from './harness.ts';
import { schemas } from './schemas.ts';

const create = { input_file_id: 'file-x', endpoint: '/v1/chat/completions', completion_window: '24h' };

async function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = { authorization: 'Bearer k' },
) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as { error: Record<string, unknown> } };
}

describe('the HTTP interface', () => {
  it('refuses a request without a key', async () => {
    const { simulator } = await start();
    for (const headers of [
      { authorization: '' },
      { authorization: 'Bearer ' },
      { authorization: 'Basic x' },
    ]) {
      const { status, body } = await post(`${simulator.url}/batches`, create, headers);
      expect(status).toBe(401);
      expect(body.error).toMatchObject({ type: 'invalid_request_error', param: null, code: null });
    }
  });

  it('answers an unknown route in the form of every error', async () => {
    const { simulator } = await start();
    const { status, body } = await post(`${simulator.url}/nothing?x=1`, {});
    expect(status).toBe(404);
    expect(body.error).toEqual({
      message: 'Invalid URL (POST /v1/nothing)',
      type: 'invalid_request_error',
      param: null,
      code: null,
    });
  });

  it('refuses a body that is no JSON', async () => {
    const { simulator } = await start();
    const { status, body } = await post(`${simulator.url}/batches`, '{');
    expect(status).toBe(400);
    expect(body.error.message).toContain('We could not parse the JSON body of your request.');
  });

  it.each([
    [
      'endpoint',
      { endpoint: '/v1/x' },
      'invalid_value',
      "Invalid value: '/v1/x'. Supported values are: '/v1/",
    ],
    ['completion_window', { completion_window: '1h' }, 'invalid_value', "Invalid value: '1h'."],
    ['metadata.tags', { metadata: { tags: ['a'] } }, 'invalid_type', "Invalid type for 'metadata.tags'"],
    ['metadata.k', { metadata: { k: 'x'.repeat(513) } }, 'string_above_max_length', 'maximum length 512'],
    [
      'metadata',
      { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, ''])) },
      'object_above_max_properties',
      'at most 16 properties',
    ],
    [
      'input_file_id',
      { input_file_id: undefined },
      'missing_required_parameter',
      "Missing required parameter: '",
    ],
    [
      'output_expires_after.seconds',
      { output_expires_after: { anchor: 'created_at', seconds: 1 } },
      'invalid_value',
      'between 3600 and 2592000',
    ],
  ])('refuses to create a batch with a bad %s', async (param, change, code, message) => {
    const { simulator } = await start();
    const { status, body } = await post(`${simulator.url}/batches`, { ...create, ...change });
    expect(status).toBe(400);
    expect(body.error).toMatchObject({ param, code, type: 'invalid_request_error' });
    expect(body.error.message).toContain(message);
    expect(simulator.ledger.batchesCreated).toBe(0);
  });

  it('tells a malformed batch id from an unknown one', async () => {
    const { openai } = await start();
    await expect(openai.batches.retrieve('x')).rejects.toMatchObject({
      status: 400,
      code: 'invalid_value',
      message: expect.stringContaining("Invalid 'batch_id': 'x'. Expected an ID that begins with 'batch'."),
    });
    await expect(openai.batches.retrieve('batch_0')).rejects.toMatchObject({
      status: 404,
      code: null,
      param: null,
      message: expect.stringContaining("No batch found with id 'batch_0'."),
    });
  });

  it('lists batches newest first, page after page', async () => {
    const { openai, simulator } = await start();
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push((await submit(openai, [chatLine('a', 'x')])).id);
    const page = await openai.batches.list({ limit: 2 });
    expect(page.data.map(({ id }) => id)).toEqual([ids[4], ids[3]]);
    const headers = { authorization: 'Bearer k' };
    const raw = await (await fetch(`${simulator.url}/batches?limit=2`, { headers })).json();
    expect(raw).toMatchObject({ object: 'list', has_more: true, first_id: ids[4], last_id: ids[3] });
    const listed: string[] = [];
    for await (const batch of openai.batches.list({ limit: 2 })) listed.push(batch.id);
    expect(listed).toEqual(ids.toReversed());
    expect(await openai.batches.list({ after: ids[0]! })).toMatchObject({ data: [], has_more: false });
  });

  it.each([0, 101, 1.5])('refuses a page of %d batches', async (limit) => {
    const { openai } = await start();
    await expect(openai.batches.list({ limit })).rejects.toMatchObject({ status: 400, param: 'limit' });
  });

  it('answers at once what a batch would answer later', async () => {
    const { openai, simulator } = await start();
    const chat = await openai.chat.completions.create({
      model: 'gpt-4o-mini',
      messages: [{ role: 'user', content: 'Title: Heat' }],
      response_format: { type: 'json_schema', json_schema: { name: 'film', schema: { ...schemas.film } } },
    });
    expect(JSON.parse(chat.choices[0]!.message.content!).summary).toContain('Heat');
    expect(chat).toMatchObject({ model: 'gpt-4o-mini-2024-07-18', choices: [{ finish_reason: 'stop' }] });
    const response = await openai.responses.create({ model: 'gpt-4o-mini', input: 'The cat sat.' });
    expect(response.output_text).toBe('In short: The cat sat.');
    await expect(openai.responses.create({ model: 'no-such-model', input: 'x' })).rejects.toBeInstanceOf(
      OpenAI.BadRequestError,
    );
    expect(simulator.ledger).toMatchObject({ executed: 3, failed: 1 });
    expect(simulator.ledger.timesPrompted('The cat sat.')).toBe(1);
  });

  it('asks its faults before a request and after it', async () => {
    let mood: 'before' | 'after' | 'none' = 'before';
    const error = new ApiError(503, 'overloaded');
    const { openai, simulator } = await start({
      faults: {
        beforeReply: async () => (mood === 'before' ? error : undefined),
        afterHandling: async ({ path }) => (mood === 'after' && path === '/v1/batches' ? error : undefined),
      },
    });
    const params = { input_file_id: 'file-x', endpoint: '/v1/responses', completion_window: '24h' } as const;
    await expect(openai.batches.create(params)).rejects.toMatchObject({ status: 503 });
    expect(simulator.ledger.batchesCreated).toBe(0);
    mood = 'after';
    await expect(openai.batches.create(params)).rejects.toMatchObject({ status: 503 });
    expect(simulator.ledger.batchesCreated).toBe(1);
    mood = 'none';
    expect((await openai.batches.list()).data).toHaveLength(1);
  });
});
