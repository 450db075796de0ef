import type { HeldRow } from '../pipeline/pipeline.ts';
import type { Place } from '../store/store.ts';
import type { Compiled } from './compiled.ts';

/**
 * What one batch takes. OpenAI: 50,000 requests (or embedding inputs) and 200 MB. A file is held in memory, and once more
 * while it is uploaded, so we stop at 32 MB: two at once stay far below what a worker may use (512 MiB).
 */
export type FileLimits = { bytes: number; requests: number };
export const fileLimits: FileLimits = { bytes: 32_000_000, requests: 50_000 };

export type RefusedRow = { c: number; n: number; hash: string; message: string };
/** A row whose answer is that of place `of` in the same chunk: they have one input. */
export type Twin = Place & { of: number };
/** What a chunk takes up in a file. */
export type ChunkFigures = {
  requests: number;
  bytes: number;
  raw_input_tokens: number;
  max_output_tokens: number | null;
};

type Line = Place & { bytes: number; outputTokens: number };

/**
 * A JSONL file in the making, held in memory as a list of parts. `add` takes rows until the file is full and
 * returns what it left over; rows of a chunk with the same input share a line.
 */
export class RequestFile {
  parts: Uint8Array[] = [];
  readonly refused: RefusedRow[] = [];
  twins: Twin[] = [];
  bytes = 0;
  readonly #pipeline: Pick<Compiled, 'writeLine' | 'outputLimit' | 'tokens'>;
  readonly #limits: FileLimits;
  readonly #estimate: ReturnType<Compiled['tokens']['start']>;
  #lines: Line[] = [];
  /** The part of the estimate that is still in the file, after a cut. */
  #share = 1;
  #firstByHash = new Map<string, number>();
  #chunkId: number | null = null;

  constructor(
    pipeline: Pick<Compiled, 'writeLine' | 'outputLimit' | 'tokens'>,
    limits: FileLimits = fileLimits,
  ) {
    this.#pipeline = pipeline;
    this.#limits = limits;
    this.#estimate = pipeline.tokens.start();
  }

  get requests(): number {
    return this.#lines.length;
  }

  /** Input tokens of all requests, by the tokenizer. */
  get rawInputTokens(): number {
    return Math.ceil(this.#estimate.total() * this.#share);
  }

  /** The sum of the requests' own limits; null where they have none. */
  get maxOutputTokens(): number | null {
    if (this.#pipeline.outputLimit === null) return null;
    return this.#lines.reduce((sum, line) => sum + line.outputTokens, 0);
  }

  /** Rows of one chunk; whoever begins another chunk does not come back to one before. */
  add(chunkId: number, rows: HeldRow[]): HeldRow[] {
    if (chunkId !== this.#chunkId) this.#firstByHash.clear();
    this.#chunkId = chunkId;
    const { writeLine, outputLimit } = this.#pipeline;
    let text = '';
    let textBytes = 0;
    const leftOver: HeldRow[] = [];
    for (const row of rows) {
      const first = this.#firstByHash.get(row.hash);
      if (first !== undefined) {
        this.twins.push({ c: chunkId, n: row.n, of: first });
        continue;
      }
      // Full: only twins of what is in the file come in now.
      if (leftOver.length > 0) {
        leftOver.push(row);
        continue;
      }
      const written = writeLine(chunkId, row);
      if ('problem' in written) {
        this.#refuse(chunkId, row, written.problem.message);
        continue;
      }
      const bytes = Buffer.byteLength(written.line) + 1;
      if (bytes > this.#limits.bytes) {
        this.#refuse(
          chunkId,
          row,
          `The request has ${bytes} bytes; a batch takes ${this.#limits.bytes} in all; shorten the row.`,
        );
        continue;
      }
      const isFull =
        this.bytes + textBytes + bytes > this.#limits.bytes || this.#lines.length >= this.#limits.requests;
      if (isFull) {
        leftOver.push(row);
        continue;
      }
      text += `${written.line}\n`;
      textBytes += bytes;
      this.#estimate.add(written.prompt);
      this.#lines.push({ c: chunkId, n: row.n, bytes, outputTokens: (outputLimit?.tokens ?? 0) * row.scale });
      this.#firstByHash.set(row.hash, row.n);
    }
    if (textBytes > 0) this.parts.push(Buffer.from(text));
    this.bytes += textBytes;
    return leftOver;
  }

  /** Leaves the first so many requests in the file; returns the rows that lost theirs. */
  cut(requests: number): Place[] {
    const dropped = this.#lines.slice(requests);
    const kept = this.#lines.slice(0, requests);
    const bytes = kept.reduce((sum, line) => sum + line.bytes, 0);
    this.#share *= this.bytes === 0 ? 1 : bytes / this.bytes;
    this.parts = firstBytes(this.parts, bytes);
    this.bytes = bytes;
    this.#lines = kept;
    const lost = new Set(dropped.map(({ c, n }) => `${c}-${n}`));
    const orphans = this.twins.filter(({ c, of }) => lost.has(`${c}-${of}`));
    this.twins = this.twins.filter(({ c, of }) => !lost.has(`${c}-${of}`));
    return [...dropped, ...orphans].map(({ c, n }) => ({ c, n }));
  }

  /** What each chunk takes up, by its number; tokens in proportion to bytes. */
  figures(): Map<number, ChunkFigures> {
    const byChunk = new Map<number, ChunkFigures>();
    const limited = this.#pipeline.outputLimit !== null;
    for (const line of this.#lines) {
      const figures = byChunk.get(line.c) ?? {
        requests: 0,
        bytes: 0,
        raw_input_tokens: 0,
        max_output_tokens: limited ? 0 : null,
      };
      figures.requests += 1;
      figures.bytes += line.bytes;
      if (figures.max_output_tokens !== null) figures.max_output_tokens += line.outputTokens;
      byChunk.set(line.c, figures);
    }
    const perByte = this.bytes === 0 ? 0 : this.rawInputTokens / this.bytes;
    for (const figures of byChunk.values()) figures.raw_input_tokens = Math.ceil(figures.bytes * perByte);
    return byChunk;
  }

  #refuse(chunkId: number, row: HeldRow, message: string): void {
    this.refused.push({ c: chunkId, n: row.n, hash: row.hash, message });
  }
}

function firstBytes(parts: Uint8Array[], bytes: number): Uint8Array[] {
  const kept: Uint8Array[] = [];
  let left = bytes;
  for (const part of parts) {
    if (left <= 0) break;
    kept.push(part.length <= left ? part : part.subarray(0, left));
    left -= part.length;
  }
  return kept;
}
