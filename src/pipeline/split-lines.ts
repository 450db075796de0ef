import { RowmillError } from '../errors.ts';

/** A line, and the byte offset right after its newline: where a reader that broke off resumes. */
export type Line = { text: string; end: number };

const newline = 0x0a;
const defaultMaxLineBytes = 64 * 1024 * 1024;

/**
 * Takes a file's bytes as they arrive; yields its lines, those that end in one chunk together, since an
 * async step for every line costs more than reading it. Splits at the byte 0x0A alone (U+2028 and U+0085
 * are data), drops a final `\r`, skips empty lines, and takes a last line without newline.
 * Raises RowmillError `line_too_long`, so that a file without newlines cannot fill the memory.
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  options: { maxLineBytes?: number } = {},
): AsyncGenerator<Line[]> {
  const { maxLineBytes = defaultMaxLineBytes } = options;
  let chunkStart = 0;
  // The beginning of a line that is not over, in pieces: joined once, whatever the number of chunks.
  let pieces: Buffer[] = [];
  let pieceBytes = 0;

  const check = (bytes: number) => {
    if (bytes <= maxLineBytes) return;
    throw new RowmillError('line_too_long', `A line is longer than ${maxLineBytes} bytes.`, {
      fields: { maxLineBytes, offset: chunkStart },
    });
  };

  for await (const chunk of chunks) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const lines: Line[] = [];
    let start = 0;
    for (let at = bytes.indexOf(newline); at !== -1; at = bytes.indexOf(newline, start)) {
      check(pieceBytes + at - start);
      let text: string;
      if (pieceBytes === 0) {
        text = decode(bytes, start, at);
      } else {
        pieces.push(bytes.subarray(start, at));
        text = decodeAll(pieces);
        pieces = [];
        pieceBytes = 0;
      }
      start = at + 1;
      const end = chunkStart + start;
      if (text !== '') lines.push({ text, end });
    }
    if (start < bytes.length) {
      pieces.push(bytes.subarray(start));
      pieceBytes += bytes.length - start;
      check(pieceBytes);
    }
    chunkStart += bytes.length;
    if (lines.length > 0) yield lines;
  }

  const text = decodeAll(pieces);
  if (text !== '') yield [{ text, end: chunkStart }];
}

function decodeAll(pieces: Buffer[]): string {
  const whole = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  return decode(whole, 0, whole.length);
}

function decode(bytes: Buffer, start: number, end: number): string {
  const last = end > start && bytes[end - 1] === 0x0d ? end - 1 : end;
  return bytes.toString('utf8', start, last);
}
