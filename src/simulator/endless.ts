import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

const megabyte = 1_048_576;
const blockBytes = 65_536;

/** The pieces one after another, each made when the one before has been taken: nothing is held of what is sent. */
export function streamOf(...pieces: (AsyncIterable<Buffer> | Iterable<Buffer>)[]): Readable {
  return Readable.from(
    (async function* () {
      for (const piece of pieces) yield* piece;
    })(),
    // Each block is sent many times, so two of them are no more memory than one.
    { objectMode: false, highWaterMark: 2 * blockBytes },
  );
}

/** So many megabytes of a text. */
export function* repeated(text: string, mb: number): Generator<Buffer> {
  const block = blockOf(text);
  for (let left = Math.round(mb * megabyte); left > 0; left -= block.length) yield block.subarray(0, left);
}

/** A text again and again, as fast as it is read, though no faster than a good network. */
export async function* endless(text: string): AsyncGenerator<Buffer> {
  const block = blockOf(text);
  for (;;) {
    for (let sent = 0; sent < megabyte; sent += block.length) yield block;
    await delay(5, undefined, { ref: false });
  }
}

/** Bytes one by one, so many milliseconds apart; then blanks, without end. */
export async function* dripping(
  bytes: AsyncIterable<Buffer> | Iterable<Buffer>,
  ms: number,
): AsyncGenerator<Buffer> {
  const blank = Buffer.from(' ');
  for await (const block of bytes) {
    for (let at = 0; at < block.length; at++) {
      yield block.subarray(at, at + 1);
      await delay(ms, undefined, { ref: false });
    }
  }
  for (;;) {
    yield blank;
    await delay(ms, undefined, { ref: false });
  }
}

/** So many megabytes of a character as gzip, a thousandth of that: a member of one megabyte, again and again. */
export function* zipped(character: string, mb: number): Generator<Buffer> {
  const member = gzipSync(Buffer.alloc(megabyte, character));
  for (let sent = 0; sent < mb; sent++) yield member;
}

function blockOf(text: string): Buffer {
  return Buffer.from(text.repeat(Math.max(1, Math.floor(blockBytes / Buffer.byteLength(text)))));
}
