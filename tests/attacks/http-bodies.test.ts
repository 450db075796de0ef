import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type BareApp, type BareAppOptions, startBareApp } from '../routes/bare-app.ts';
import { ingestSecret, waitFor } from '../support/service.ts';
import { head, openRaw, type RawConnection, signedHeaders } from './raw-http.ts';

const mb = 1_000_000;

let bare: BareApp;
let port: number;
/** The worker's side of every connection. */
let accepted: Socket[];
let opened: RawConnection[];
afterEach(async () => {
  for (const { socket } of opened) socket.destroy();
  await bare.close();
});

async function start(options: BareAppOptions = {}): Promise<void> {
  bare = await startBareApp({
    secret: ingestSecret,
    ...options,
    doors: { lingerMs: 100, ...options.doors },
  });
  accepted = [];
  opened = [];
  bare.app.server.on('connection', (socket) => accepted.push(socket));
  await bare.app.listen({ port: 0, host: '127.0.0.1' });
  port = (bare.app.server.address() as AddressInfo).port;
}
async function open(): Promise<RawConnection> {
  const connection = await openRaw(port);
  opened.push(connection);
  return connection;
}
const bytesRead = () => accepted.reduce((sum, socket) => sum + socket.bytesRead, 0);
const held = () => bare.gauge('rowmill_receiving_bytes');
const room =
  (most: number) =>
  (bytes: number, others = 0) =>
    bytes + others <= most;

async function ping(): Promise<number> {
  const body = '{"ping":1}';
  const response = await fetch(`http://127.0.0.1:${port}/v1/chunks`, {
    method: 'POST',
    headers: signedHeaders(body),
    body,
  });
  await response.text();
  return response.status;
}

describe('a body of a stranger', () => {
  const unsigned = { 'content-type': 'application/json' };
  const { 'webhook-signature': _, ...withoutSignature } = signedHeaders();
  const old = { ...signedHeaders(), 'webhook-timestamp': '1700000000' };
  it.each([
    ['unsigned, of 15 MB', '/v1/chunks', { ...unsigned, 'content-length': 15 * mb }, 401, 'bad_signature'],
    [
      'unsigned, without a length',
      '/v1/chunks',
      { ...unsigned, 'transfer-encoding': 'chunked' },
      401,
      'bad_signature',
    ],
    [
      'without the signature',
      '/v1/chunks',
      { ...withoutSignature, 'content-length': 15 * mb },
      401,
      'bad_signature',
    ],
    [
      'with a signature of another form',
      '/v1/chunks',
      { ...signedHeaders(), 'webhook-signature': 'v1,AAAA', 'content-length': 15 * mb },
      401,
      'bad_signature',
    ],
    [
      'with an id of 300 letters',
      '/v1/chunks',
      { ...signedHeaders(), 'webhook-id': 'x'.repeat(300), 'content-length': 15 * mb },
      401,
      'bad_signature',
    ],
    ['with an old timestamp', '/v1/chunks', { ...old, 'content-length': 15 * mb }, 401, 'bad_timestamp'],
    [
      'of another type',
      '/v1/chunks',
      { ...signedHeaders(), 'content-type': 'text/plain', 'content-length': 15 * mb },
      415,
      'not_json',
    ],
    [
      'that says that it is too long',
      '/v1/chunks',
      { ...signedHeaders(), 'content-length': 17 * mb },
      413,
      'too_large',
    ],
    [
      'unsigned, for the webhook',
      '/v1/webhooks/openai',
      { ...unsigned, 'content-length': 15_000 },
      401,
      'bad_signature',
    ],
    [
      'for the webhook, with an id of 300 letters',
      '/v1/webhooks/openai',
      { ...unsigned, 'webhook-id': 'x'.repeat(300), 'content-length': 15_000 },
      422,
      'invalid_id',
    ],
    [
      'for the webhook, of 15 MB',
      '/v1/webhooks/openai',
      { ...signedHeaders(), 'content-length': 15 * mb },
      413,
      'too_large',
    ],
    [
      'for a path that there is not',
      '/v1/nothing',
      { ...signedHeaders(), 'content-length': 15 * mb },
      404,
      'not_found',
    ],
    ['for a path that cannot be read', '/%zz', { ...unsigned, 'content-length': 15 * mb }, 400, 'bad_url'],
    ['for a route that takes none', '/healthz', { ...unsigned, 'content-length': 15 * mb }, 404, 'not_found'],
  ] as const)('is refused by its headers: %s', async (_what, path, headers, status, code) => {
    await start();
    const connection = await open();
    connection.send(head(path, headers));
    const answer = await connection.ended();
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer.toLowerCase()).toContain('\r\nconnection: close\r\n');
    expect(JSON.parse(answer.split('\r\n\r\n')[1]!)).toMatchObject({ error: { code } });
    expect(await held()).toBe(0);
    await waitFor('the socket is gone', async () => accepted[0]!.destroyed);
  });

  it('comes no further than buffers go, and the answer arrives at a caller who is sending', async () => {
    await start();
    const size = 15 * mb;
    for (const path of ['/v1/chunks', '/v1/nothing']) {
      const connection = await open();
      connection.send(head(path, { ...unsigned, 'content-length': size }));
      connection.send(Buffer.alloc(size, 0x20));
      expect(await connection.ended()).toMatch(/^HTTP\/1.1 40[14] .*"error":/s);
    }
    await waitFor('the sockets are gone', async () => accepted.every((socket) => socket.destroyed));
    expect(bytesRead()).toBeLessThan(1 * mb);
    expect(await held()).toBe(0);
  });

  it('holds nothing, whatever number of them is never ended', async () => {
    await start();
    for (let n = 0; n < 50; n += 1) {
      const connection = await open();
      connection.send(head('/v1/chunks', { ...unsigned, 'transfer-encoding': 'chunked' }));
      connection.send(`10000\r\n${' '.repeat(65_536)}\r\n`);
      connection.send(`10000\r\n${' '.repeat(65_536)}\r\n`);
    }
    expect(await ping()).toBe(200);
    await waitFor('all are gone', async () => accepted.slice(0, 50).every((socket) => socket.destroyed));
    expect(await held()).toBe(0);
  });
});

describe('a body under headers that look signed', () => {
  const stuck = async (bytes: number, headers: Record<string, string | number>) => {
    const connection = await open();
    connection.send(head('/v1/chunks', { ...signedHeaders(), ...headers }));
    if ('content-length' in headers) connection.send(' '.repeat(bytes));
    else connection.send(`${bytes.toString(16)}\r\n${' '.repeat(bytes)}\r\n`);
    return connection;
  };

  it.each([
    ['with a length', { 'content-length': 2.5 * mb }],
    ['without', { 'transfer-encoding': 'chunked' }],
  ])('gives way to one that comes later, the oldest first: %s', async (_what, headers) => {
    await start({ hasRoom: room(3 * mb) });
    const first = await stuck(1 * mb, headers);
    await waitFor('it is held', async () => (await held()) >= 1 * mb);
    const second = await stuck(1 * mb, headers);
    await waitFor('both are held', async () => (await held()) >= 2 * mb);
    const third = await stuck(1.5 * mb, headers);
    const answer = await first.ended();
    expect(answer).toMatch(/^HTTP\/1.1 503 .*retry-after: \d+\r\n.*"busy"/s);
    expect(answer.toLowerCase()).toContain('connection: close');
    expect(await held()).toBeLessThanOrEqual(3 * mb);
    expect(await ping()).toBe(200);
    expect(third.heard()).toBe('');
    second.socket.destroy();
    third.socket.destroy();
    await waitFor('nothing is held', async () => (await held()) === 0);
  });

  it('counts as what it takes when it comes in single bytes', async () => {
    await start();
    const connection = await open();
    connection.send(head('/v1/chunks', { ...signedHeaders(), 'transfer-encoding': 'chunked' }));
    connection.send('1\r\n \r\n'.repeat(50_000));
    await waitFor('it is held', async () => (await held()) >= 50_000);
    expect(await held()).toBeLessThan(200_000);
  });

  it('is refused when it is over, and holds nothing then', async () => {
    await start();
    const connection = await open();
    connection.send(head('/v1/chunks', { ...signedHeaders(), 'content-length': 100_000 }));
    connection.send(' '.repeat(100_000));
    expect(await connection.hears('"error"')).toMatch(/^HTTP\/1.1 401 .*bad_signature/s);
    expect(await held()).toBe(0);
  });

  it('is cut when the time of a request is over', async () => {
    await start({ doors: { requestMs: 300, headersMs: 200, checkMs: 50 } });
    const connection = await stuck(1000, { 'content-length': 15 * mb });
    await waitFor('it is held', async () => (await held()) > 0);
    expect(await connection.ended()).toMatch(/^HTTP\/1.1 408 /);
    await waitFor('nothing is held', async () => (await held()) === 0);
  });

  it('of more than 16 MB without a length is refused while it comes', async () => {
    await start();
    const connection = await open();
    connection.send(head('/v1/chunks', { ...signedHeaders(), 'transfer-encoding': 'chunked' }));
    for (let n = 0; n < 18; n += 1) connection.send(`${mb.toString(16)}\r\n${' '.repeat(mb)}\r\n`);
    expect(await connection.ended()).toMatch(/^HTTP\/1.1 413 .*too_large/s);
    expect(await held()).toBe(0);
  });

  it('does not keep a worker from stopping', async () => {
    await start();
    const connection = await stuck(1000, { 'content-length': 15 * mb });
    await waitFor('it is held', async () => (await held()) > 0);
    const closed = bare.close();
    expect(await connection.ended()).toMatch(/^HTTP\/1.1 503 /);
    await closed;
  });
});
