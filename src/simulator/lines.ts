import type { FileHandle } from 'node:fs/promises';

const lineFeed = 0x0a;

/**
 * The lines of an open file, a chunk's worth at a time, split on \n alone: U+2028, U+0085 and a lone \r are
 * text, as they are to JSON. Reads by position, so that the same handle may be read again. A final \n ends
 * the last line and begins no other.
 */
export async function* readLines(handle: FileHandle, chunkBytes = 262_144): AsyncGenerator<string[]> {
  const chunk = Buffer.allocUnsafe(chunkBytes);
  // The beginning of a line whose end has not been read; joined once, since a line may span many chunks.
  let pieces: Buffer[] = [];
  let position = 0;
  for (;;) {
    const { bytesRead } = await handle.read(chunk, 0, chunkBytes, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    const lines: string[] = [];
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(lineFeed, start);
      if (end === -1 || end >= bytesRead) break;
      if (pieces.length > 0) {
        pieces.push(chunk.subarray(start, end));
        lines.push(Buffer.concat(pieces).toString('utf8'));
        pieces = [];
      } else {
        lines.push(chunk.toString('utf8', start, end));
      }
      start = end + 1;
    }
    // A copy, because the chunk is read over.
    if (start < bytesRead) pieces.push(Buffer.from(chunk.subarray(start, bytesRead)));
    if (lines.length > 0) yield lines;
  }
  if (pieces.length > 0) yield [Buffer.concat(pieces).toString('utf8')];
}
