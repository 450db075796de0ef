import type { InputRow } from '../pipeline/pipeline.ts';
import type { WriteRequestLine } from '../pipeline/request-line.ts';

/** OpenAI takes 200 MB; one reading is 200 MiB. The smaller is safe under both. */
export const maxFileBytes = 200_000_000;

export type RefusedRow = { n: number; hash: string; message: string };

/**
 * A JSONL file in the making, held in memory as a list of parts. `add` takes rows until the file is full and
 * returns what it left over.
 */
export class RequestFile {
  readonly parts: Uint8Array[] = [];
  readonly refused: RefusedRow[] = [];
  requests = 0;
  bytes = 0;
  readonly #chunkId: number;
  readonly #write: WriteRequestLine;
  readonly #maxBytes: number;

  constructor(chunkId: number, write: WriteRequestLine, maxBytes = maxFileBytes) {
    this.#chunkId = chunkId;
    this.#write = write;
    this.#maxBytes = maxBytes;
  }

  add(rows: InputRow[]): InputRow[] {
    let text = '';
    let textBytes = 0;
    let requests = 0;
    let at = 0;
    for (; at < rows.length; at += 1) {
      const row = rows[at]!;
      const written = this.#write(this.#chunkId, row);
      if ('problem' in written) {
        this.refused.push({ n: row.n, hash: row.hash, message: written.problem.message });
        continue;
      }
      const lineBytes = Buffer.byteLength(written.line) + 1;
      if (lineBytes > this.#maxBytes) {
        const message = `The request has ${lineBytes} bytes; a batch takes ${this.#maxBytes} in all.`;
        this.refused.push({ n: row.n, hash: row.hash, message });
        continue;
      }
      if (this.bytes + textBytes + lineBytes > this.#maxBytes) break;
      text += `${written.line}\n`;
      textBytes += lineBytes;
      requests += 1;
    }
    if (textBytes > 0) this.parts.push(Buffer.from(text));
    this.bytes += textBytes;
    this.requests += requests;
    return rows.slice(at);
  }
}
