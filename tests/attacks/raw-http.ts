import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { ingestSecret } from '../support/service.ts';

/** A connection on which a test says exactly what it wants, and hears exactly what comes. */
export type RawConnection = {
  socket: Socket;
  /** What has come so far. */
  heard(): string;
  send(bytes: string | Buffer): void;
  /** Resolves with all that came, once the other side has ended it; rejects where it does not in 20 s. */
  ended(): Promise<string>;
  /** Resolves with what came so far, once it contains this; rejects where it does not in 20 s. */
  hears(text: string): Promise<string>;
};

export async function openRaw(port: number): Promise<RawConnection> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let heard = '';
  let isEnded = false;
  socket.on('data', (part) => {
    heard += part;
  });
  socket.on('end', () => {
    isEnded = true;
  });
  socket.on('close', () => {
    isEnded = true;
  });
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  const wait = async (what: string, is: () => boolean): Promise<string> => {
    for (let waited = 0; !is(); waited += 20) {
      if (waited > 20_000) throw new Error(`waited in vain for ${what}; came: ${heard}`);
      await delay(20);
    }
    return heard;
  };
  return {
    socket,
    heard: () => heard,
    send: (bytes) => void socket.write(bytes),
    ended: () => wait('the end', () => isEnded),
    hears: (text) => wait(text, () => heard.includes(text)),
  };
}

/** The head of a request, up to its empty line. */
export function head(path: string, headers: Record<string, string | number>, method = 'POST'): string {
  const lines = Object.entries({ host: 'worker', ...headers }).map(([name, value]) => `${name}: ${value}`);
  return `${[`${method} ${path} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`;
}

/** Headers that are well formed; signed for a body, or for none that there will be. */
export function signedHeaders(body = 'another body', id = 'chunk_1'): Record<string, string> {
  const at = new Date();
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(ingestSecret).sign(id, at, body),
  };
}
