import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../random.ts';
import { type Headers, ingestSecret, sign } from './sign.ts';

const part = Buffer.alloc(65_536, 0x20);
const holdMs = 15_000;

/** One connection after the other whose body is never ended: stuck, in drips, or in one go. Returns how many there were. */
export async function beStranger(port: number, random: Random, signal: AbortSignal): Promise<number> {
  let count = 0;
  while (!signal.aborted) {
    count += 1;
    await holdOne(port, random, signal);
    await delay(random.between(100, 2000), undefined, { signal }).catch(() => {});
  }
  return count;
}

async function holdOne(port: number, random: Random, signal: AbortSignal): Promise<void> {
  const bytes = random.between(5_000_000, 15_000_000);
  const isChunked = random.chance(0.5);
  // Not one of them is signed; some look as if they were.
  const forged = random.chance(0.2) ? sign(ingestSecret, 'chunk_1', Buffer.from('another body')) : [];
  const framing: Headers = isChunked
    ? [['transfer-encoding', 'chunked']]
    : [['content-length', String(bytes + 1)]];
  const path = random.chance(0.9)
    ? '/v1/chunks'
    : random.pick(['/v1/webhooks/openai', '/nothing', '/healthz']);
  const headers: Headers = [['host', 'worker'], ['content-type', 'application/json'], ...forged, ...framing];
  const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');

  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => {});
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  // Its answer is not read, nor its end: it holds on as long as it is let.
  socket.resume();
  if (random.chance(0.05)) socket.write('POST /v1/chunks HTTP/1.1\r\nhost: w');
  else {
    socket.write(`POST ${path} HTTP/1.1\r\n${head}\r\n`);
    const way = random.chance(0.7) ? 'at once' : random.pick(['stuck', 'drips']);
    const send = (body: Buffer) => {
      if (isChunked) socket.write(`${body.length.toString(16)}\r\n`);
      const isTaken = socket.write(body);
      return isChunked ? socket.write('\r\n') : isTaken;
    };
    if (way === 'drips') {
      const drip = setInterval(() => send(part.subarray(0, 1)), 50);
      socket.once('close', () => clearInterval(drip));
    }
    if (way === 'at once') {
      let left = bytes;
      const pour = () => {
        while (left > 0 && !socket.destroyed) {
          const next = part.subarray(0, Math.min(left, part.length));
          left -= next.length;
          if (!send(next)) return void socket.once('drain', pour);
        }
      };
      pour();
    }
  }
  await Promise.race([ended, delay(holdMs, undefined, { signal }).catch(() => {})]);
  socket.destroy();
}
