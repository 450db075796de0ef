import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Provider } from '../../src/provider/provider.ts';
import { type FakeAnswer, makeWireBatch, sendError, sendJson } from '../provider/fake-server.ts';
import { against, apiKey, collect, failureOf } from '../provider/provider-under-test.ts';

const input = { inputFileId: 'file-1', endpoint: '/v1/chat/completions', metadata: { rowmill_key: 'k' } };
const timers = new Set<NodeJS.Timeout>();
afterEach(() => {
  for (const timer of timers) clearInterval(timer);
  timers.clear();
});

/** Sends a byte now and then, and never ends. */
function drip(response: ServerResponse, text = ' ', everyMs = 20): void {
  response.write(text);
  timers.add(setInterval(() => response.write(text), everyMs));
}

/** Sends the same bytes as fast as they are taken; tells how many were. */
async function pour(response: ServerResponse, bytes: Buffer, most: number): Promise<number> {
  let sent = 0;
  response.on('error', () => {});
  response.setMaxListeners(0);
  while (sent < most && !response.destroyed) {
    sent += bytes.length;
    if (response.write(bytes)) continue;
    await Promise.race([once(response, 'drain'), once(response, 'close')]);
  }
  response.end();
  return sent;
}

const json = { 'content-type': 'application/json' };
const calls: [string, (provider: Provider) => Promise<unknown>][] = [
  ['retrieving', (provider) => provider.retrieveBatch('batch_1')],
  ['creating', (provider) => provider.createBatch(input)],
  ['cancelling', (provider) => provider.cancelBatch('batch_1')],
  ['listing batches', (provider) => collect(provider.listBatches())],
  ['listing files', (provider) => collect(provider.listFiles())],
  ['uploading', (provider) => provider.uploadFile('k.jsonl', [Buffer.from('{}\n')])],
  ['deleting', (provider) => provider.deleteFile('file-1')],
  ['looking for a size', (provider) => provider.downloadFile('file-1')],
];

describe('an answer that never ends', () => {
  test.each(calls)('%s ends by its deadline, byte after byte or not', async (what, send) => {
    const closed = vi.fn();
    const { provider } = await against(
      (_request, response) => {
        response.on('close', closed);
        response.writeHead(200, json);
        drip(response);
      },
      { timeoutMs: what === 'uploading' ? 30 : 300 },
    );
    expect(await failureOf(send(provider))).toMatchObject({
      kind: 'ambiguous',
      message: expect.stringContaining('no whole answer within'),
    });
    // Nothing is left open behind it.
    await vi.waitFor(() => expect(closed).toHaveBeenCalled());
  });

  test('one deadline holds for the SDK\u2019s repetitions together', async () => {
    const { provider, seen } = await against(
      (_request, response) => sendJson(response, {}, 503, { 'retry-after': '50' }),
      { timeoutMs: 300 },
    );
    expect(await failureOf(provider.retrieveBatch('batch_1'))).toMatchObject({ kind: 'ambiguous' });
    expect(seen).toHaveLength(1);
  });

  test('of an error ends, too', async () => {
    const { provider } = await against(
      (_request, response) => {
        response.writeHead(400, json);
        drip(response);
      },
      { timeoutMs: 300 },
    );
    await failureOf(provider.createBatch(input));
  });

  test('a file that brings no headers ends by the same deadline', async () => {
    const { provider } = await against(
      (request, response) => {
        if (!request.path.endsWith('/content')) sendJson(response, { bytes: 9 });
      },
      { timeoutMs: 300 },
    );
    expect(await failureOf(provider.downloadFile('file-1'))).toMatchObject({ kind: 'ambiguous' });
  });
});

describe('a download', () => {
  const leastRate = { bytes: 1000, windowMs: 400 };
  const answering =
    (send: (response: ServerResponse) => void, bytes?: number): FakeAnswer =>
    (request, response) => {
      if (!request.path.endsWith('/content')) return sendJson(response, { id: 'file-1', bytes });
      response.writeHead(200);
      send(response);
    };

  test('that drips is ended, and its connection closed', async () => {
    const closed = vi.fn();
    const { provider } = await against(
      answering((response) => {
        response.on('close', closed);
        drip(response, 'x');
      }),
      { leastRate },
    );
    const { chunks } = await provider.downloadFile('file-1');
    expect(await failureOf(collect(chunks))).toMatchObject({
      kind: 'ambiguous',
      message: expect.stringMatching(/the provider sends \d+ bytes in 0.4 s/),
    });
    await vi.waitFor(() => expect(closed).toHaveBeenCalled());
  });

  test('that others wait for is ended four times as soon', async () => {
    const { provider } = await against(
      answering((response) => drip(response, 'x')),
      { leastRate },
    );
    const { chunks } = await provider.downloadFile('file-1', undefined, true);
    expect(await failureOf(collect(chunks))).toMatchObject({
      message: expect.stringMatching(/the provider sends \d+ bytes in 0.1 s/),
    });
  });

  test('that others wait for, and that does not begin, is given up four times as soon', async () => {
    const { provider } = await against(
      (request, response) => {
        if (!request.path.endsWith('/content')) sendJson(response, { id: 'file-1', bytes: 1 });
      },
      { timeoutMs: 1000 },
    );
    expect(await failureOf(provider.downloadFile('file-1', undefined, true))).toMatchObject({
      message: 'downloading a file: no whole answer within 0.25 s',
    });
  });

  test('that keeps its rate takes as long as it takes', async () => {
    const part = 'x'.repeat(1000);
    const { provider } = await against(
      answering((response) => {
        drip(response, part, 50);
        setTimeout(() => {
          for (const timer of timers) clearInterval(timer);
          response.end();
        }, 1500);
      }),
      { leastRate, timeoutMs: 700 },
    );
    const { chunks } = await provider.downloadFile('file-1');
    expect(Buffer.concat(await collect(chunks)).length).toBeGreaterThan(10_000);
  });

  test('is not blamed for a reader that takes its time', async () => {
    const parts = ['some', 'more', 'rest'];
    const { provider } = await against(
      answering((response) => {
        for (const part of parts) response.write(part);
        response.end();
      }),
      { leastRate: { bytes: 1000, windowMs: 100 } },
    );
    const { chunks } = await provider.downloadFile('file-1');
    let text = '';
    for await (const chunk of chunks) {
      text += Buffer.from(chunk).toString();
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    expect(text).toBe('somemorerest');
  });

  test('that is longer than it says is ended', async () => {
    const { provider } = await against(
      answering((response) => void pour(response, Buffer.alloc(1000, 'x\n'), 1e9), 10_000),
    );
    const { chunks } = await provider.downloadFile('file-1');
    expect(await failureOf(collect(chunks))).toMatchObject({
      kind: 'ambiguous',
      message: expect.stringContaining('more than 10000 bytes'),
    });
  });

  test('ends when its caller is aborted', async () => {
    const abort = new AbortController();
    const { provider } = await against(answering((response) => drip(response, 'x')));
    const { chunks } = await provider.downloadFile('file-1', abort.signal);
    const read = collect(chunks);
    setTimeout(() => abort.abort(), 50);
    expect(await failureOf(read)).toMatchObject({ kind: 'ambiguous' });
  });
});

describe('an answer of absurd size', () => {
  const blanks = gzipSync(Buffer.alloc(40_000_000, ' '));

  test('that was packed small is read to 32 MB, once', async () => {
    const { provider, seen } = await against((_request, response) => {
      response.writeHead(200, { ...json, 'content-encoding': 'gzip' });
      response.end(blanks);
    });
    expect(await failureOf(provider.retrieveBatch('batch_1'))).toMatchObject({
      kind: 'ambiguous',
      message: expect.stringContaining('more than 32000000 bytes'),
    });
    expect(seen).toHaveLength(1);
  });

  test.each([
    ['nested', '['.repeat(1_000_000), 'nested more than 64 deep'],
    ['of many values', `[${'0,'.repeat(1_000_000)}0]`, 'more than 500000 values'],
  ])('%s is not parsed', async (_what, body, problem) => {
    const { provider } = await against((_request, response) => {
      response.writeHead(200, json);
      response.end(body);
    });
    expect(await failureOf(collect(provider.listBatches()))).toMatchObject({
      kind: 'ambiguous',
      message: expect.stringContaining(problem),
    });
  });

  test.each([
    ['text', 'text/plain', 'no '.repeat(20_000_000)],
    ['JSON', 'application/json', JSON.stringify({ error: { message: 'm'.repeat(5_000_000), code: 'c' } })],
    ['a nested message', 'application/json', `{"error":{"message":${'['.repeat(9000)}${']'.repeat(9000)}}}`],
    ['a long code', 'application/json', JSON.stringify({ error: { message: 'm', code: 'c'.repeat(5000) } })],
  ])('of an error (%s) says what it can in a line, and keeps its status', async (_what, type, body) => {
    let sent = 0;
    const { provider } = await against((_request, response) => {
      response.writeHead(400, { 'content-type': type, 'x-request-id': 'r'.repeat(5000) });
      void pour(response, Buffer.from(body), body.length).then((count) => {
        sent = count;
      });
    });
    const failure = await failureOf(provider.createBatch(input));
    expect(failure).toMatchObject({ kind: 'rejected', status: 400 });
    expect(failure.message.length).toBeLessThan(600);
    expect(failure.providerCode?.length ?? 0).toBeLessThanOrEqual(100);
    expect(failure.requestId!.length).toBeLessThanOrEqual(200);
    await vi.waitFor(() => expect(sent).toBeGreaterThan(0));
  });

  test('a packed answer of a sensible size is unpacked', async () => {
    const { provider } = await against((_request, response) => {
      response.writeHead(200, { ...json, 'content-encoding': 'gzip' });
      response.end(gzipSync(JSON.stringify(makeWireBatch())));
    });
    expect((await provider.retrieveBatch('batch_1')).id).toBe('batch_1');
  });
});

describe('a redirect', () => {
  /** Another origin: it must never be asked. */
  const elsewhere = 'http://user:secret@elsewhere.invalid/v1/batches?key=secret#secret';
  const to =
    (status: number, location: string): FakeAnswer =>
    (_request, response) => {
      response.writeHead(status, { location });
      response.end();
    };

  test.each(calls)('to another origin is not followed (%s)', async (_what, send) => {
    const { provider, seen } = await against(to(307, elsewhere));
    const failure = await failureOf(send(provider));
    expect(failure).toMatchObject({
      kind: 'rejected',
      status: 307,
      message: expect.stringContaining('redirected by status 307 to http://elsewhere.invalid'),
    });
    expect(failure.message).not.toContain('secret');
    expect(seen).toHaveLength(1);
  });

  test('is not asked for a second time: the next answer would be the same', async () => {
    const { provider, seen } = await against(to(307, elsewhere));
    await failureOf(provider.retrieveBatch('batch_1'));
    // The SDK would repeat it after half a second.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(seen).toHaveLength(1);
  });

  test.each([
    [301, 'rejected'],
    [302, 'ambiguous'],
    [303, 'ambiguous'],
    [307, 'rejected'],
    [308, 'rejected'],
  ] as const)(
    'of a create by %i is followed nowhere, the create sent once, and it is %s',
    async (status, kind) => {
      const { provider, seen } = await against(to(status, '/v1/batches/there'));
      expect(await failureOf(provider.createBatch(input))).toMatchObject({ kind, status });
      expect(seen).toHaveLength(1);
    },
  );

  test('of a GET within the origin is followed, with the key', async () => {
    const { provider, seen } = await against((request, response) =>
      request.path.endsWith('/there')
        ? sendJson(response, makeWireBatch())
        : to(302, '/v1/there')(request, response),
    );
    expect((await provider.retrieveBatch('batch_1')).id).toBe('batch_1');
    expect(seen.map(({ path }) => path)).toEqual(['/v1/batches/batch_1', '/v1/there']);
    expect(seen[1]!.headers.authorization).toBe(`Bearer ${apiKey}`);
  });

  test.each(['/v1/batches/batch_1', 'http://[', 'data:text/plain,x'])(
    'without an end or a sense (%s) is an error',
    async (location) => {
      const { provider, seen } = await against(to(302, location));
      expect(await failureOf(provider.retrieveBatch('batch_1'))).toMatchObject({ status: 302 });
      expect(seen.length).toBeLessThanOrEqual(4);
    },
  );

  test('without an address is the error that its status says', async () => {
    const { provider } = await against((_request, response) => sendError(response, 304, null));
    expect(await failureOf(provider.retrieveBatch('batch_1'))).toMatchObject({ status: 304 });
  });
});

test('a status that does not exist is an error', async () => {
  const { provider } = await against((_request, response) => {
    response.writeHead(999);
    response.end('x');
  });
  expect(await failureOf(provider.retrieveBatch('batch_1'))).toMatchObject({
    kind: 'ambiguous',
    status: 999,
  });
});
