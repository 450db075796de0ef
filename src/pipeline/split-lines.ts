import { isUtf8 } from 'node:buffer';

/** A line, and the byte offset right after its newline: where a reader that broke off resumes. */
export type Line = {
  /** Where there is a problem, the beginning alone: enough to tell whose line it is. */
  text: string;
  end: number;
  problem?: LineProblem;
};

export type LineProblem = 'too_long' | 'not_utf8';

const newline = 0x0a;
const carriageReturn = 0x0d;
const defaultMaxLineBytes = 8 * 1024 * 1024;
/** How much is kept of a line that is not handed on. */
const headBytes = 512;

/**
 * Takes a file's bytes as they arrive; yields its lines, those that end in one chunk together, since an
 * async step for every line costs more than reading it. Splits at the byte 0x0A alone (U+2028 and U+0085
 * are data), drops a final `\r`, skips empty lines, and takes a last line without newline.
 * Yields for every chunk, if only an empty list: its caller can always look at the clock, and nothing in a file ends the
 * reading. A line that is too long, or no UTF-8, has a `problem`; the bytes of the former are dropped as they come.
 * Raises what the source raises.
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  options: { maxLineBytes?: number } = {},
): AsyncGenerator<Line[]> {
  const beginning = new Beginning(options.maxLineBytes ?? defaultMaxLineBytes);
  let chunkStart = 0;
  for await (const chunk of chunks) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const lines: Line[] = [];
    let start = 0;
    for (let at = bytes.indexOf(newline); at !== -1; at = bytes.indexOf(newline, start)) {
      const line = beginning.close(bytes, start, at, chunkStart + at + 1);
      start = at + 1;
      // Blank lines, of which there may be millions.
      while (bytes[start] === newline) start += 1;
      if (line !== null) lines.push(line);
    }
    beginning.add(bytes, start, bytes.length);
    chunkStart += bytes.length;
    yield lines;
  }
  const last = beginning.close(Buffer.alloc(0), 0, 0, chunkStart);
  if (last !== null) yield [last];
}

/** What came so far of the line that is not over. */
class Beginning {
  readonly #maxBytes: number;
  // One buffer that grows: a list of pieces would take a hundred times their bytes where they come one by one.
  #held = Buffer.alloc(0);
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes more of the line; holds no more than the bound allows, and counts on. */
  add(bytes: Buffer, start: number, end: number): void {
    const room = this.#maxBytes - this.#bytes;
    if (room > 0 && end > start) {
      const stop = Math.min(end, start + room);
      this.#grow(this.#bytes + stop - start);
      bytes.copy(this.#held, this.#bytes, start, stop);
    }
    this.#bytes += end - start;
  }

  /** Takes the rest of the line; returns the whole, or null where it is empty. The next one begins. */
  close(bytes: Buffer, start: number, stop: number, end: number): Line | null {
    if (this.#bytes === 0) return this.#toLine(bytes, start, stop, end);
    this.add(bytes, start, stop);
    const length = this.#bytes;
    this.#bytes = 0;
    return this.#toLine(this.#held, 0, length, end);
  }

  #toLine(bytes: Buffer, start: number, stop: number, end: number): Line | null {
    if (stop - start > this.#maxBytes) {
      return { text: headOf(bytes, start, stop), end, problem: 'too_long' };
    }
    const last = stop > start && bytes[stop - 1] === carriageReturn ? stop - 1 : stop;
    if (last === start) return null;
    const text = bytes.toString('utf8', start, last);
    // The character may stand in the file as well as in the place of bytes that are none.
    if (text.includes('\ufffd') && !isUtf8(bytes.subarray(start, last))) {
      return { text: headOf(bytes, start, last), end, problem: 'not_utf8' };
    }
    return { text, end };
  }

  #grow(bytes: number): void {
    if (bytes <= this.#held.length) return;
    const grown = Buffer.allocUnsafe(Math.min(this.#maxBytes, Math.max(bytes, 2 * this.#held.length)));
    this.#held.copy(grown, 0, 0, this.#bytes);
    this.#held = grown;
  }
}

/** A string of its own: a slice of the line's text would keep all of it in memory. */
function headOf(bytes: Buffer, start: number, stop: number): string {
  return bytes.toString('utf8', start, Math.min(start + headBytes, stop));
}
