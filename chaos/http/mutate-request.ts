import type { Random } from '../random.ts';
import { mutatedBody } from './mutate-json.ts';
import { type Headers, ingestSecret, sign, webhookSecret } from './sign.ts';

export type FuzzRequest = {
  bytes: Buffer;
  /** Of a HEAD, whose answer has a length and no body. */
  isHead: boolean;
  /** Whether the worker may rightly wait for more of it. */
  mayHang: boolean;
};

const posts = ['/v1/chunks', '/v1/chunks', '/v1/chunks', '/v1/webhooks/openai'] as const;
const others = [
  ...[
    '/',
    '/healthz',
    '/readyz',
    '/metrics',
    '/docs',
    '/docs/json',
    '/docs/static/../../package.json',
    '/v1/chunks/',
  ],
  ...[
    '/v1/chunks?x=1',
    '/v1/chunks/1',
    '/V1/CHUNKS',
    '//v1/chunks',
    '/%00',
    '/%zz',
    '/%2e%2e/%2e%2e/etc/passwd',
    '*',
  ],
  ...['/__proto__', '/constructor', '/v1/webhooks/openai;x', 'http://elsewhere/v1/chunks', '/nothing'],
  `/${'x'.repeat(3000)}`,
];
const methods = [
  'GET',
  'HEAD',
  'PUT',
  'DELETE',
  'OPTIONS',
  'PATCH',
  'TRACE',
  'PROPFIND',
  'QUERY',
  'CONNECT',
  'GARBAGE',
  'get',
];
const types = [
  'application/json',
  'application/json; charset=utf-16',
  'text/plain',
  'application/json\u00a0',
  ';',
  'multipart/form-data; boundary=x',
  '',
];

/** A request to one of the routes, or to none: right in most of what it is, and wrong in some. */
export function mutatedRequest(random: Random): FuzzRequest {
  const isPost = random.chance(0.75);
  const path: string = isPost ? random.pick(posts) : random.pick(others);
  const method = isPost || random.chance(0.1) ? 'POST' : random.chance(0.6) ? 'GET' : random.pick(methods);
  const hasBody = method === 'POST' || random.chance(0.2);
  const body = hasBody ? mutatedBody(random) : Buffer.alloc(0);
  const headers: Headers = [['host', 'worker']];
  if (hasBody) headers.push(['content-type', random.chance(0.9) ? types[0]! : random.pick(types)]);
  headers.push(...signature(path, body, random));
  if (random.chance(0.1)) headers.push(random.pick(oddHeaders));
  const framed = frame(body, hasBody, random);
  headers.push(...framed.headers);
  const head = `${method} ${path} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  return {
    bytes: Buffer.concat([Buffer.from(head, 'latin1'), framed.bytes]),
    mayHang: framed.mayHang,
    isHead: method === 'HEAD',
  };
}

const oddHeaders: readonly [string, string][] = [
  ['expect', '100-continue'],
  ['expect', 'something'],
  ['upgrade', 'websocket'],
  ['connection', 'close'],
  ['accept-version', '\u00ff'],
  ['x-request-id', 'x'.repeat(9000)],
  ['x-long', 'x'.repeat(20_000)],
  ['content-encoding', 'gzip'],
  ['__proto__', 'x'],
  ['bad header', 'x'],
  ['x-nul', 'a\0b'],
];

function signature(path: string, body: Buffer, random: Random): Headers {
  const secret = path.startsWith('/v1/webhooks') ? webhookSecret : ingestSecret;
  const right = sign(secret, `chunk_${random.between(1, 1e9)}`, body);
  if (random.chance(0.7)) return right;
  const now = Math.floor(Date.now() / 1000);
  return random.pick<() => Headers>([
    () => [],
    () => right.slice(1),
    () => right.slice(0, 2),
    () => [...right, ...right],
    () => sign(ingestSecret, 'x'.repeat(random.between(257, 9000)), body),
    () => sign(ingestSecret, 'caf\u00e9 \u00ff', body),
    () => sign(ingestSecret, 'chunk_1', body, now - 400),
    () => sign(ingestSecret, 'chunk_1', body, now + 400),
    () => right.map(([name, value]) => [name, name === 'webhook-timestamp' ? 'NaN' : value]),
    () =>
      right.map(([name, value]) => [
        name,
        name === 'webhook-signature' ? `v2,x v1,${'A'.repeat(43)}=` : value,
      ]),
    () =>
      right.map(([name, value]) => [name, name === 'webhook-signature' ? 'v1, v1 ,,, '.repeat(500) : value]),
  ])();
}

type Framed = { headers: Headers; bytes: Buffer; mayHang: boolean };

/** Says how long the body is, and lies now and then. */
function frame(body: Buffer, hasBody: boolean, random: Random): Framed {
  if (!hasBody) return { headers: [], bytes: body, mayHang: false };
  const length = (value: number | string): Headers => [['content-length', String(value)]];
  const chunked: Headers = [['transfer-encoding', 'chunked']];
  if (random.chance(0.6)) return { headers: length(body.length), bytes: body, mayHang: false };
  if (random.chance(0.6)) return { headers: chunked, bytes: inChunks(body, random), mayHang: false };
  return random.pick<() => Framed>([
    () => ({ headers: length(body.length + random.between(1, 1e7)), bytes: body, mayHang: true }),
    () => ({ headers: length(Math.max(0, body.length - random.between(1, 50))), bytes: body, mayHang: true }),
    () => ({
      headers: length(random.pick(['-1', '1e3', '0x10', '99999999999999999999', '', ' ', '1, 2'])),
      bytes: body,
      mayHang: true,
    }),
    () => ({ headers: length(random.between(17_000_000, 2_000_000_000)), bytes: body, mayHang: true }),
    () => ({ headers: [...length(body.length), ...length(body.length + 1)], bytes: body, mayHang: true }),
    () => ({ headers: [...chunked, ...length(body.length)], bytes: inChunks(body, random), mayHang: true }),
    () => ({
      headers: [['transfer-encoding', random.pick(['gzip', 'chunked, identity', 'xchunked'])]],
      bytes: body,
      mayHang: true,
    }),
    () => ({
      headers: chunked,
      bytes: Buffer.from(`fffffffff\r\n${body.toString('latin1')}`, 'latin1'),
      mayHang: true,
    }),
    () => ({ headers: chunked, bytes: inChunks(body, random).subarray(0, -5), mayHang: true }),
    () => ({ headers: [], bytes: body, mayHang: true }),
  ])();
}

function inChunks(body: Buffer, random: Random): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length; ) {
    const part = body.subarray(at, at + random.between(1, Math.max(1, body.length)));
    parts.push(
      Buffer.from(`${part.length.toString(16)}${random.chance(0.1) ? ';x=y' : ''}\r\n`),
      part,
      Buffer.from('\r\n'),
    );
    at += part.length;
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')]);
}
