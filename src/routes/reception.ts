import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { Gauge } from 'prom-client';
import { HttpError } from './http-error.ts';

export const retryAfterSeconds = 15;

// The first block of a body whose length is not known, and the most that a body grows by at once.
const firstBlockBytes = 16_384;
const blockBytes = 1_048_576;

export type ReceptionOptions = {
  /** Whether so many bytes may be held beside so many others. */
  hasRoom(bytes: number, others: number): boolean;
  gauge: Gauge;
};

export type BodyOptions = {
  maxBytes: number;
  /** What content-length says; not believed, but no more is allocated for less. */
  statedBytes?: number;
};

/** A body that is here completely. Its bytes count until it is released. */
export type Received = {
  bytes: number;
  /** The body as it came, in pieces. */
  parts(): Buffer[];
  /** The body as text. May be called once: the bytes are given up while it is decoded. */
  text(): string;
  /** Harmless to repeat. */
  release(): void;
};

export type Reception = {
  /** What bodies hold now, incomplete or not yet released. */
  readonly bytes: number;
  /** Whether a body of so many bytes could come in if every incomplete one gave way. */
  couldTake(bytes: number): boolean;
  /**
   * Reads a body. Where there is no room for its next part, the body that has been under way the longest gives way.
   * Rejects with HttpError 503 `busy` where that is this one, 413 `too_large` beyond maxBytes, 400 `aborted` where the
   * caller leaves; nothing is held then, and nothing more is read.
   */
  receive(payload: Readable, options: BodyOptions): Promise<Received>;
  /** Ends every incomplete body with 503, also those that begin later. */
  close(): void;
};

/** Holds the bodies that are being received, and counts the memory that they really take. */
export function createReception({ hasRoom, gauge }: ReceptionOptions): Reception {
  let held = 0;
  let isClosed = false;
  // In the order in which they began.
  const incomplete = new Set<{ blocks: Blocks; giveWay(): void }>();
  const count = (change: number) => {
    held += change;
    gauge.inc(change);
  };
  const complete = () => {
    let bytes = held;
    for (const { blocks } of incomplete) bytes -= blocks.held;
    return bytes;
  };

  return {
    get bytes() {
      return held;
    },
    couldTake: (bytes) => hasRoom(bytes, complete()),
    receive(payload, { maxBytes, statedBytes }) {
      const blocks = new Blocks(statedBytes);
      return new Promise((resolve, reject) => {
        const end = () => {
          incomplete.delete(entry);
          payload.off('data', onData).off('end', onEnd).off('error', onBreak).off('close', onBreak);
        };
        const fail = (error: HttpError) => {
          end();
          payload.pause();
          // A socket that breaks later has nobody to tell.
          payload.on('error', () => {});
          count(-blocks.free());
          reject(error);
        };
        const entry = { blocks, giveWay: () => fail(busy()) };

        const makeRoom = (more: number): boolean => {
          const own = blocks.held + more;
          if (isClosed || !hasRoom(own, complete())) return false;
          while (!hasRoom(own, held - blocks.held)) {
            const [oldest] = incomplete;
            if (!oldest || oldest === entry) return false;
            oldest.giveWay();
          }
          return true;
        };
        const onData = (part: Buffer) => {
          if (blocks.bytes + part.length > maxBytes) return fail(tooLarge(maxBytes));
          const more = blocks.growth(part.length);
          if (more > 0 && !makeRoom(more)) return fail(busy());
          count(more);
          blocks.add(part, more);
        };
        const onEnd = () => {
          end();
          let isReleased = false;
          const bytesHeld = blocks.held;
          resolve({
            bytes: blocks.bytes,
            parts: () => blocks.parts(),
            text: () => blocks.text(),
            release() {
              if (isReleased) return;
              isReleased = true;
              blocks.free();
              count(-bytesHeld);
            },
          });
        };
        const onBreak = () => fail(new HttpError(400, 'aborted', 'The body ended before its time.'));

        if (isClosed) return fail(busy());
        incomplete.add(entry);
        payload.on('data', onData).on('end', onEnd).on('error', onBreak).on('close', onBreak);
      });
    },
    close() {
      isClosed = true;
      for (const { giveWay } of [...incomplete]) giveWay();
    },
  };
}

/** Bytes in blocks of their own: a caller who sends them one by one makes no object of each. */
class Blocks {
  bytes = 0;
  held = 0;
  readonly #blocks: Buffer[] = [];
  readonly #stated: number;

  constructor(stated: number | undefined) {
    this.#stated = stated ?? Number.POSITIVE_INFINITY;
  }

  /** How much more has to be held for so many more bytes. */
  growth(bytes: number): number {
    const lacking = this.bytes + bytes - this.held;
    if (lacking <= 0) return 0;
    const usual = Math.min(blockBytes, Math.max(firstBlockBytes, this.held));
    return Math.max(lacking, Math.min(usual, this.#stated - this.held));
  }

  /** Takes a part, after growing by what `growth` said. */
  add(part: Buffer, growth: number): void {
    const before = this.held - this.bytes;
    const toLast = Math.min(before, part.length);
    const last = this.#blocks.at(-1);
    if (last && toLast > 0) part.copy(last, last.length - before, 0, toLast);
    if (growth > 0) {
      const block = Buffer.allocUnsafeSlow(growth);
      part.copy(block, 0, toLast);
      this.#blocks.push(block);
    }
    this.held += growth;
    this.bytes += part.length;
  }

  text(): string {
    const decoder = new StringDecoder('utf8');
    let text = '';
    for (const part of this.parts()) {
      text += decoder.write(part);
      discard(part);
    }
    return text + decoder.end();
  }

  parts(): Buffer[] {
    let left = this.bytes;
    return this.#blocks.map((block) => {
      const part = block.subarray(0, left);
      left -= part.length;
      return part;
    });
  }

  /** Returns how much was held. */
  free(): number {
    const { held } = this;
    for (const block of this.#blocks.splice(0)) discard(block);
    this.held = 0;
    return held;
  }
}

/** Gives the memory back now: the garbage collector sees only a small object, and may take its time. */
function discard(block: Buffer): void {
  const { buffer } = block as Buffer<ArrayBuffer>;
  if (!buffer.detached) buffer.transfer(0);
}

export function busy(): HttpError {
  return new HttpError(
    503,
    'busy',
    `Too much is in memory; the chunk stays queued. Try again in ${retryAfterSeconds} s.`,
  );
}

function tooLarge(maxBytes: number): HttpError {
  return new HttpError(413, 'too_large', `A body has ${maxBytes} bytes at most.`);
}
