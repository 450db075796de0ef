import type { AddressInfo, Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { type BareApp, type BareAppOptions, startBareApp } from '../routes/bare-app.ts';
import { ingestSecret, waitFor } from '../support/service.ts';
import { head, openRaw, type RawConnection, signedHeaders } from './raw-http.ts';

let bare: BareApp;
let port: number;
let opened: RawConnection[];
afterEach(async () => {
  for (const { socket } of opened) socket.destroy();
  await bare.close();
});

async function start(options: BareAppOptions = {}, prepare?: (app: BareApp['app']) => void): Promise<void> {
  bare = await startBareApp({ secret: ingestSecret, ...options });
  opened = [];
  prepare?.(bare.app);
  await bare.app.listen({ port: 0, host: '127.0.0.1' });
  port = (bare.app.server.address() as AddressInfo).port;
}
async function open(): Promise<RawConnection> {
  const connection = await openRaw(port);
  opened.push(connection);
  return connection;
}
const get = (path: string) => head(path, {}, 'GET');

it('connections that say nothing are cut for new ones, the oldest first', async () => {
  await start({ doors: { connections: 5 } });
  for (let n = 0; n < 5; n += 1) await open();
  const sixth = await open();
  sixth.send(get('/healthz'));
  expect(await sixth.hears('"ok"')).toMatch(/^HTTP\/1.1 200 /);
  await opened[0]!.ended();
  opened[1]!.send(get('/healthz'));
  expect(await opened[1]!.hears('"ok"')).toMatch(/^HTTP\/1.1 200 /);
});

it('headers that are never ended are cut', async () => {
  await start({ doors: { requestMs: 400, headersMs: 200, checkMs: 50 } });
  const connection = await open();
  connection.send('GET /healthz HTTP/1.1\r\nhost: worker\r\nx-never:');
  expect(await connection.ended()).toMatch(/^HTTP\/1.1 408 /);
});

it('an answer that nobody reads ends with its connection', async () => {
  const prepare = (app: BareApp['app']) => app.get('/much', async () => 'x'.repeat(50_000_000));
  await start({ doors: { silentMs: 300 } }, prepare);
  const accepted = new Promise<Socket>((resolve) => bare.app.server.once('connection', resolve));
  const connection = await open();
  connection.socket.pause();
  connection.send(get('/much'));
  const socket = await accepted;
  await waitFor('it is cut', async () => socket.destroyed, 20_000);
});

it('requests behind one that is not answered yet are not worked on', async () => {
  await start();
  const connection = await open();
  connection.send(get('/metrics').repeat(1000));
  await connection.ended();
  expect((connection.heard().match(/HTTP\/1.1 200/g) ?? []).length).toBeLessThanOrEqual(1);
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
  // One after the other is another matter.
  const patient = await open();
  for (let n = 1; n <= 3; n += 1) {
    patient.send(get('/healthz'));
    await waitFor('it is answered', async () => patient.heard().split('"ok"').length === n + 1);
  }
});

it('an unknown path is named in a few words, however long it is', async () => {
  await start();
  const response = await fetch(`http://127.0.0.1:${port}/${'x'.repeat(10_000)}`);
  expect(response.status).toBe(404);
  expect((await response.text()).length).toBeLessThan(400);
  const bad = await fetch(`http://127.0.0.1:${port}/%${'x'.repeat(10_000)}`);
  expect(bad.status).toBe(400);
  expect((await bad.text()).length).toBeLessThan(400);
});

it.each([
  ['no HTTP at all', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
  ['a NUL in a header', 'GET /healthz HTTP/1.1\r\nhost: worker\r\nwebhook-id: a\0b\r\n\r\n'],
  [
    'two lengths',
    'POST /v1/chunks HTTP/1.1\r\nhost: worker\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n',
  ],
  [
    'a length beside chunks',
    'POST /v1/chunks HTTP/1.1\r\nhost: worker\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
  ],
  ['headers of 20 kB', `GET /healthz HTTP/1.1\r\nhost: worker\r\nx-long: ${'x'.repeat(20_000)}\r\n\r\n`],
])('what is no request is answered and closed: %s', async (_what, bytes) => {
  await start();
  const connection = await open();
  connection.send(bytes);
  expect(await connection.ended()).toMatch(/^HTTP\/1.1 4\d\d .*connection: close.*"error":\{"code":/s);
});

it('an id with a NUL is refused, not passed on', async () => {
  await start();
  for (const url of ['/v1/chunks', '/v1/webhooks/openai']) {
    const body = '{"ping":1}';
    const headers = { ...signedHeaders(body, 'chunk_1'), 'webhook-id': 'chunk_\0' };
    const response = await bare.app.inject({ method: 'POST', url, payload: body, headers });
    expect(response.statusCode).toBe(401);
  }
  expect(bare.asked).toEqual([]);
});
