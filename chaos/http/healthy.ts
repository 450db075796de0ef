import { setTimeout as delay } from 'node:timers/promises';
import { FuzzConnection } from './connection.ts';
import { ingestSecret, sign } from './sign.ts';

const everyMs = 100;
const retries = 2;
// Tells what hangs from what is slow on a busy machine.
const patienceMs = 60_000;

export type HealthyPosts = { sent: number; accepted: number; retried: number; refused: string[] };

/** Posts chunks as the database does, and pings of a megabyte in between; each again where it is turned away, twice at most. */
export async function postHealthily(
  port: number,
  chunks: number[],
  signal: AbortSignal,
): Promise<HealthyPosts> {
  const posts: HealthyPosts = { sent: 0, accepted: 0, retried: 0, refused: [] };
  while (!signal.aborted) {
    const chunk = posts.sent % 5 === 0 ? undefined : chunks.pop();
    posts.sent += 1;
    const body =
      chunk === undefined
        ? { ping: posts.sent, fill: 'x'.repeat(1_000_000) }
        : { chunk_id: chunk, pipeline: 'films' };
    const statuses = await postUntilTaken(port, Buffer.from(JSON.stringify(body)));
    posts.retried += statuses.length - 1;
    const last = statuses.at(-1);
    if (last === 200 || last === 202) posts.accepted += 1;
    else posts.refused.push(`${chunk === undefined ? 'a ping' : `chunk ${chunk}`}: ${statuses.join(', ')}`);
    await delay(everyMs, undefined, { signal }).catch(() => {});
  }
  return posts;
}

async function postUntilTaken(port: number, body: Buffer) {
  const statuses = [];
  for (let n = 0; n <= retries; n += 1) {
    const headers = [
      ...sign(ingestSecret, 'chunk_1', body),
      ...[
        ['host', 'worker'],
        ['content-type', 'application/json'],
        ['content-length', body.length],
      ],
    ];
    const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    const connection = new FuzzConnection(port);
    const bytes = Buffer.concat([Buffer.from(`POST /v1/chunks HTTP/1.1\r\n${head}\r\n`), body]);
    const status = await connection.send(bytes, patienceMs);
    connection.close();
    statuses.push(status);
    if (status === 200 || status === 202) break;
    await delay(250);
  }
  return statuses;
}
