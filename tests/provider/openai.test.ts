import { inspect } from 'node:util';
import { describe, expect, test, vi } from 'vitest';
import type { ProviderError } from '../../src/errors.ts';
import type { ProviderBatch } from '../../src/provider/provider.ts';
import { type FakeAnswer, makeWireBatch, sendError, sendJson } from './fake-server.ts';
import { against, apiKey, closeServer, collect, failureOf } from './provider-under-test.ts';

const input = { inputFileId: 'file-1', endpoint: '/v1/chat/completions', metadata: { rowmill: 'k1' } };

describe('createBatch', () => {
  test('a batch is asked for with its key in the metadata', async () => {
    const { provider, seen } = await against((_request, response) => sendJson(response, makeWireBatch()));
    expect((await provider.createBatch(input)).id).toBe('batch_1');
    expect(seen[0]).toMatchObject({ method: 'POST', path: '/v1/batches' });
    expect(seen[0]?.headers.authorization).toBe(`Bearer ${apiKey}`);
    expect(JSON.parse(String(seen[0]?.body))).toEqual({
      input_file_id: 'file-1',
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      metadata: { rowmill: 'k1' },
    });
  });

  const answers: [string, FakeAnswer, Partial<ProviderError>][] = [
    ['a 500', (_q, r) => sendError(r, 500, null), { kind: 'ambiguous', status: 500 }],
    ['a 409', (_q, r) => sendError(r, 409, null), { kind: 'ambiguous', status: 409 }],
    ['a 408', (_q, r) => sendError(r, 408, null), { kind: 'ambiguous', status: 408 }],
    ['a reset', (_q, r) => r.destroy(), { kind: 'ambiguous', status: null }],
    ['silence', () => {}, { kind: 'ambiguous', status: null }],
    [
      'half an answer',
      (_q, r) => {
        r.writeHead(200, { 'content-type': 'application/json', 'content-length': 99 });
        r.write('{"id":');
        setTimeout(() => r.destroy(), 20);
      },
      { kind: 'ambiguous', status: null },
    ],
    [
      'a proxy\u2019s page',
      (_q, r) => {
        r.writeHead(200, { 'content-type': 'text/html' });
        r.end('<p>Welcome</p>');
      },
      { kind: 'ambiguous', status: null },
    ],
    [
      'an empty answer',
      (_q, r) => {
        r.writeHead(204);
        r.end();
      },
      { kind: 'ambiguous', status: null },
    ],
    [
      'a 429',
      (_q, r) => sendError(r, 429, 'rate_limit_exceeded'),
      { kind: 'busy', status: 429, providerCode: 'rate_limit_exceeded' },
    ],
    [
      'no quota',
      (_q, r) => sendError(r, 429, 'insufficient_quota'),
      { kind: 'busy', providerCode: 'insufficient_quota' },
    ],
    [
      'a full queue as 400',
      (_q, r) => sendError(r, 400, 'token_limit_exceeded'),
      { kind: 'busy', status: 400, providerCode: 'token_limit_exceeded' },
    ],
    [
      'a 400',
      (_q, r) => sendError(r, 400, 'invalid_value'),
      { kind: 'rejected', status: 400, providerCode: 'invalid_value', requestId: 'req_test' },
    ],
    [
      'a 401',
      (_q, r) => sendError(r, 401, 'invalid_api_key', `Incorrect API key: ${apiKey}`),
      { kind: 'rejected', status: 401 },
    ],
    [
      'an answer that asks for a retry',
      (_q, r) => sendJson(r, {}, 500, { 'x-should-retry': 'true', 'retry-after-ms': '1' }),
      { kind: 'ambiguous', status: 500 },
    ],
  ];

  test.each(answers)(
    'a create is sent exactly once, and says what is known, after %s',
    async (_what, answer, expected) => {
      const { provider, seen } = await against(answer, { timeoutMs: 300 });
      const error = await failureOf(provider.createBatch(input));
      expect(error).toMatchObject({ code: `provider_${expected.kind}`, ...expected });
      expect(seen).toHaveLength(1);
      expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(apiKey);
    },
  );

  test('a provider that cannot be reached is busy', async () => {
    const { provider } = await against(() => {});
    await closeServer();
    const error = await failureOf(provider.createBatch(input));
    expect(error).toMatchObject({ kind: 'busy', status: null, fields: { causeCode: 'ECONNREFUSED' } });
  });

  test('a caller that gives up while waiting leaves it open what happened', async () => {
    const controller = new AbortController();
    const { provider, seen } = await against(() => controller.abort());
    expect(await failureOf(provider.createBatch(input, controller.signal))).toMatchObject({
      kind: 'ambiguous',
    });
    expect(seen).toHaveLength(1);
  });

  test('a key that no header can carry is not quoted in the error', async () => {
    const badKey = 'sk-bad\nsecret-part';
    const { provider } = await against(() => {}, { apiKey: badKey });
    const error = await failureOf(provider.createBatch(input));
    expect(inspect(error, { depth: 20 })).not.toContain('secret-part');
  });
});

describe('a batch in our words', () => {
  async function retrieved(changes: Record<string, unknown>): Promise<ProviderBatch> {
    const { provider } = await against((_request, response) => sendJson(response, makeWireBatch(changes)));
    return provider.retrieveBatch('batch_1');
  }

  test('a finished batch comes over whole', async () => {
    const batch = await retrieved({
      status: 'completed',
      model: 'gpt-4o-mini-2024-07-18',
      output_file_id: 'file-2',
      error_file_id: 'file-3',
      request_counts: { total: 10, completed: 8, failed: 2 },
      usage: {
        input_tokens: 100,
        input_tokens_details: { cached_tokens: 40 },
        output_tokens: 20,
        total_tokens: 120,
      },
      metadata: { rowmill: 'k1' },
    });
    expect(batch).toEqual({
      id: 'batch_1',
      status: 'completed',
      inputFileId: 'file-1',
      outputFileId: 'file-2',
      errorFileId: 'file-3',
      model: 'gpt-4o-mini-2024-07-18',
      errors: [],
      counts: { total: 10, completed: 8, failed: 2 },
      usage: { inputTokens: 100, cachedTokens: 40, outputTokens: 20 },
      metadata: { rowmill: 'k1' },
      createdAt: new Date(1_763_700_000_000),
    });
  });

  test.each(['', null, undefined])('a file id of %j is none', async (id) => {
    expect(await retrieved({ output_file_id: id, error_file_id: id, model: id })).toMatchObject({
      outputFileId: null,
      errorFileId: null,
      model: null,
    });
  });

  test.each([null, undefined, {}, { total: null, completed: null, failed: null }])(
    'counts of %j are 0',
    async (request_counts) => {
      expect((await retrieved({ request_counts })).counts).toEqual({ total: 0, completed: 0, failed: 0 });
    },
  );

  test('usage that is absent or all zero is not told', async () => {
    expect((await retrieved({})).usage).toBeNull();
    expect((await retrieved({ usage: null })).usage).toBeNull();
  });

  test('the errors of a failed validation are listed', async () => {
    const data = [
      { code: 'invalid_json_line', message: 'Not JSON.', param: null, line: 3 },
      { message: null },
    ];
    expect((await retrieved({ status: 'failed', errors: { object: 'list', data } })).errors).toEqual([
      { code: 'invalid_json_line', message: 'Not JSON.', line: 3 },
      { code: null, message: '', line: null },
    ]);
  });

  test('a status of tomorrow is kept', async () => {
    expect((await retrieved({ status: 'paused_for_lunch' })).status).toBe('paused_for_lunch');
  });

  test('a failed retrieve is tried again', async () => {
    let calls = 0;
    const { provider } = await against((_request, response) =>
      ++calls < 3 ? sendError(response, 500, null) : sendJson(response, makeWireBatch()),
    );
    expect((await provider.retrieveBatch('batch_1')).id).toBe('batch_1');
  });

  test('a batch that is gone is a rejection with status 404', async () => {
    const { provider } = await against((_request, response) => sendError(response, 404, null));
    expect(await failureOf(provider.retrieveBatch('batch_1'))).toMatchObject({
      kind: 'rejected',
      status: 404,
    });
  });
});

describe('cancelBatch', () => {
  test('a batch that is over already is returned as it is, without a second cancel', async () => {
    const { provider, seen } = await against((request, response) =>
      request.method === 'POST'
        ? sendError(response, 409, null, "Cannot cancel a batch with status 'completed'.")
        : sendJson(response, makeWireBatch({ status: 'completed' })),
    );
    expect((await provider.cancelBatch('batch_1')).status).toBe('completed');
    expect(seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /v1/batches/batch_1/cancel',
      'GET /v1/batches/batch_1',
    ]);
  });

  test('any other failure is told', async () => {
    const { provider, seen } = await against((_request, response) => sendError(response, 500, null));
    expect(await failureOf(provider.cancelBatch('batch_1'))).toMatchObject({
      kind: 'ambiguous',
      status: 500,
    });
    expect(seen).toHaveLength(1);
  });
});

describe('listBatches', () => {
  const ids = Array.from({ length: 250 }, (_, i) => `batch_${i}`);
  const pages: FakeAnswer = ({ query }, response) => {
    const start = query.has('after') ? ids.indexOf(query.get('after') ?? '') + 1 : 0;
    const data = ids.slice(start, start + Number(query.get('limit'))).map((id) => makeWireBatch({ id }));
    sendJson(response, { object: 'list', data, has_more: start + data.length < ids.length });
  };

  test('every page is read, up to the last', async () => {
    const { provider, seen } = await against(pages);
    const read = await collect(provider.listBatches());
    expect(read.map(({ batches }) => batches.length)).toEqual([100, 100, 50]);
    expect(read.flatMap(({ batches }) => batches).map(({ id }) => id)).toEqual(ids);
    expect(seen.map(({ query }) => String(query))).toEqual([
      'limit=100',
      'limit=100&after=batch_99',
      'limit=100&after=batch_199',
    ]);
  });

  test('a caller that stops asks for no further page', async () => {
    const { provider, seen } = await against(pages);
    for await (const { batches } of provider.listBatches()) {
      if (batches.some(({ id }) => id === 'batch_5')) break;
    }
    expect(seen).toHaveLength(1);
  });

  test('a list that breaks off is an error, never an end', async () => {
    const { provider } = await against((request, response) =>
      request.query.has('after') ? sendError(response, 503, null) : pages(request, response),
    );
    expect(await failureOf(collect(provider.listBatches()))).toMatchObject({
      kind: 'ambiguous',
      status: 503,
    });
  });

  test.each([
    ['an answer that is no list', { hello: 'world' }],
    ['a page that comes again and again', { data: [makeWireBatch()], has_more: true }],
  ])('%s is an error, never an end', async (_what, body) => {
    const { provider } = await against((_request, response) => sendJson(response, body));
    expect(await failureOf(collect(provider.listBatches()))).toMatchObject({ kind: 'ambiguous' });
  });

  test('a list without batches ends', async () => {
    const { provider } = await against((_request, response) =>
      sendJson(response, { data: [], has_more: true }),
    );
    expect(await collect(provider.listBatches())).toEqual([{ batches: [], unreadable: [] }]);
  });
});

test('nothing is written to the console', async () => {
  const spies = (['log', 'info', 'warn', 'error', 'debug'] as const).map((name) => vi.spyOn(console, name));
  const { provider } = await against((_request, response) => sendError(response, 500, null));
  await failureOf(provider.retrieveBatch('batch_1'));
  for (const spy of spies) expect(spy).not.toHaveBeenCalled();
});
