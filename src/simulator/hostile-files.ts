import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import type { BatchFates } from './batch-fates.ts';
import { dripping, endless, repeated, streamOf, zipped } from './endless.ts';
import type { FaultRule } from './fault-rules.ts';
import type { Faults, Instead } from './faults.ts';
import { asGzip, numberOf, redirect } from './instead.ts';

type Delivery = (bytes: AsyncIterable<Buffer>, rule: FaultRule) => Instead;

const plain = { 'content-type': 'application/octet-stream' };
const send = (body: Readable, headers: Record<string, string> = {}): Instead => ({
  headers: { ...plain, ...headers },
  body,
});
const newline = [Buffer.from('\n')];

/** Whoever reads them sees another size than the file has, so no size is told of these. */
const oversized = {
  download_drips: (bytes, rule) => send(streamOf(dripping(bytes, numberOf(rule, 'ms')))),
  // The file's own lines are a member of their own, behind the blank ones.
  download_bomb: (bytes, rule) =>
    send(streamOf(zipped('\n', numberOf(rule, 'mb')), compressed(bytes)), asGzip),
  download_long_line: (bytes, rule) => send(streamOf(repeated('x', numberOf(rule, 'mb')), newline, bytes)),
  download_nested: (bytes, rule) => send(streamOf(repeated('[', numberOf(rule, 'mb')), newline, bytes)),
  download_blanks: (bytes) => send(streamOf(bytes, endless('\n'))),
  download_foreign: (bytes) => send(streamOf(bytes, endless(foreignLines()))),
} satisfies Record<string, Delivery>;

const deliveries = {
  ...oversized,
  download_not_utf8: (bytes) => send(streamOf(withoutBlanks(bytes))),
  download_redirect: (_bytes, rule) => redirect(302, rule),
} satisfies Record<string, Delivery>;

/** Result files that are made to harm who reads them. */
export function hostileFiles(fates: BatchFates): Faults {
  const struck = (Object.keys(deliveries) as (keyof typeof deliveries)[]).filter((name) => fates.has(name));
  if (struck.length === 0) return {};
  return {
    delivered(batch, bytes) {
      for (const name of struck) {
        const rule = fates.find(batch, name)?.rule;
        if (rule) return (deliveries[name] as Delivery)(opened(bytes), rule);
      }
      return undefined;
    },
    fileShown(batch, file) {
      const isOversized = struck.some((name) => name in oversized && fates.find(batch, name));
      return isOversized ? { ...file, bytes: 0 } : file;
    },
  };
}

/** Opened when it is read, and so not at all where the client leaves before that. */
async function* opened(open: () => Readable): AsyncGenerator<Buffer> {
  yield* open() as AsyncIterable<Buffer>;
}

async function* compressed(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield* Readable.from(bytes).pipe(createGzip());
}

function foreignLines(): string {
  const body = '{"choices":[{"message":{"role":"assistant","content":"{}"},"finish_reason":"stop"}]}';
  const response = `{"status_code":200,"request_id":"req","body":${body}}`;
  return Array.from({ length: 200 }, (_, n) => {
    const id = `c${1e9 + n}-${n}-${String(n).padStart(16, '0')}`;
    return `{"id":"batch_req_${n}","custom_id":"${id}","response":${response},"error":null}\n`;
  }).join('');
}

/** Lines have their first blank in the answer's text: the rest of them is written without any. */
async function* withoutBlanks(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let isDone = false;
  for await (const block of bytes) {
    for (let at = 0; at < block.length; at++) {
      if (block[at] === 0x0a) isDone = false;
      if (block[at] !== 0x20 || isDone) continue;
      block[at] = 0xff;
      isDone = true;
    }
    yield block;
  }
}
