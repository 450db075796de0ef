import { describe, expect, test, vi } from 'vitest';
import { type FakeAnswer, sendError, sendJson } from './fake-server.ts';
import { against, collect, failureOf } from './provider-under-test.ts';

describe('files', () => {
  test('an upload is its parts in their order', async () => {
    const { provider, seen } = await against((_request, response) => sendJson(response, { id: 'file-9' }));
    const parts = ['{"a":"ä"}\n', '{"b":"\u{1f9df}"}\n'].map((text) => Buffer.from(text));
    expect(await provider.uploadFile('k1.jsonl', parts)).toBe('file-9');
    const { headers, body } = seen[0]!;
    const form = await new Response(new Uint8Array(body), {
      headers: { 'content-type': headers['content-type'] ?? '' },
    }).formData();
    const file = form.get('file') as File;
    expect(form.get('purpose')).toBe('batch');
    expect([file.name, file.type]).toEqual(['k1.jsonl', 'application/jsonl']);
    expect(Buffer.from(await file.arrayBuffer())).toEqual(Buffer.concat(parts));
  });

  test.each([500, 429, 409])(
    'an upload that fails with %i is sent once: a second copy would be nobody\u2019s',
    async (status) => {
      const { provider, seen } = await against((_request, response) => sendError(response, status, null));
      await failureOf(provider.uploadFile('k1.jsonl', [Buffer.from('{"a":1}\n')]));
      expect(seen).toHaveLength(1);
    },
  );

  test('an upload whose answer is lost is ambiguous, and sent once', async () => {
    const { provider, seen } = await against((_request, response) => void response.destroy());
    const failure = await failureOf(provider.uploadFile('k1.jsonl', [Buffer.from('{"a":1}\n')]));
    expect(failure).toMatchObject({ kind: 'ambiguous', status: null });
    expect(seen).toHaveLength(1);
  });

  test('an upload without an id in its answer is ambiguous', async () => {
    const { provider } = await against((_request, response) => sendJson(response, { id: '' }));
    expect(await failureOf(provider.uploadFile('k1.jsonl', [Buffer.from('{}')]))).toMatchObject({
      kind: 'ambiguous',
    });
  });

  const content = Buffer.from(`{"line":"\u{1f9df}"}\n`.repeat(50_000));
  const fileAnswer =
    (bytes: unknown): FakeAnswer =>
    (request, response) => {
      if (!request.path.endsWith('/content')) return sendJson(response, { id: 'file-2', bytes });
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      response.end(content);
    };

  test('a download is the file\u2019s bytes and their number', async () => {
    const { provider } = await against(fileAnswer(content.length));
    const { bytes, chunks } = await provider.downloadFile('file-2');
    expect(bytes).toBe(content.length);
    expect(Buffer.concat(await collect(chunks)).equals(content)).toBe(true);
  });

  test.each([0, null, 'many'])('a number of bytes of %j cannot be told', async (bytes) => {
    const { provider } = await against(fileAnswer(bytes));
    const download = await provider.downloadFile('file-2');
    expect(download.bytes).toBeNull();
    await collect(download.chunks);
  });

  test.each([404, 405])('a download needs no server that tells its size (%i)', async (status) => {
    const { provider } = await against((request, response) =>
      request.path.endsWith('/content') ? response.end('x') : sendError(response, status, null),
    );
    const { bytes, chunks } = await provider.downloadFile('file-2');
    expect([bytes, String(Buffer.concat(await collect(chunks)))]).toEqual([null, 'x']);
  });

  test.each([
    [500, 'ambiguous'],
    [429, 'busy'],
    [401, 'rejected'],
  ] as const)(
    'a download whose size cannot be learnt because the look fails with %i is an error: a cut file would pass for a whole one',
    async (status, kind) => {
      const { provider } = await against((request, response) =>
        request.path.endsWith('/content') ? response.end('x') : sendError(response, status, null),
      );
      expect(await failureOf(provider.downloadFile('file-2'))).toMatchObject({ kind, status });
    },
  );

  test('a download that breaks off is an error', async () => {
    const { provider } = await against((request, response) => {
      if (!request.path.endsWith('/content')) return sendJson(response, { bytes: 99 });
      response.writeHead(200, { 'content-length': 99 });
      response.write('some');
      setTimeout(() => response.destroy(), 20);
    });
    const { chunks } = await provider.downloadFile('file-2');
    expect(await failureOf(collect(chunks))).toMatchObject({ kind: 'ambiguous', status: null });
  });

  test('a caller that stops reading lets go of the connection', async () => {
    const closed = vi.fn();
    const { provider } = await against((request, response) => {
      if (!request.path.endsWith('/content')) return sendJson(response, { bytes: 99 });
      response.on('close', closed);
      response.write('first');
    });
    const { chunks } = await provider.downloadFile('file-2');
    for await (const _chunk of chunks) break;
    await vi.waitFor(() => expect(closed).toHaveBeenCalled());
  });

  test('a missing file is a rejection to read and a success to delete', async () => {
    const { provider } = await against((_request, response) => sendError(response, 404, null));
    expect(await failureOf(provider.downloadFile('file-2'))).toMatchObject({ kind: 'rejected', status: 404 });
    await provider.deleteFile('file-2');
  });

  test('deleting asks for that file alone, and for none without an id', async () => {
    const { provider, seen } = await against((_request, response) => sendJson(response, { deleted: true }));
    await provider.deleteFile('');
    await provider.deleteFile('file-2');
    expect(seen.map(({ method, path }) => `${method} ${path}`)).toEqual(['DELETE /v1/files/file-2']);
  });

  test('a delete that fails otherwise is told', async () => {
    const { provider } = await against((_request, response) => sendError(response, 403, null));
    expect(await failureOf(provider.deleteFile('file-2'))).toMatchObject({ kind: 'rejected', status: 403 });
  });
});
