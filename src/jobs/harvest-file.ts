import type { Deps } from '../deps.ts';
import { RowmillError } from '../errors.ts';
import { type Line, splitLines } from '../pipeline/split-lines.ts';
import type { Lease } from '../store/store.ts';
import type { Compiled } from '../submission/compiled.ts';
import { readSlice } from './read-slice.ts';

const sliceLines = 1000;
const sliceCharacters = 4_000_000;

export type ResultFile = {
  batchId: number;
  file: 'output' | 'error';
  id: string;
  /** Bytes that were applied before. */
  position: number;
};

/**
 * Streams a result file into the table, slice by slice, each with the position that it reaches. Resolves
 * with false where the batch is not under this lease any more. Rejects `download_short` before the last,
 * possibly cut line is read, and whatever provider and store reject with; what was applied stays applied.
 */
export async function harvestFile(
  deps: Deps,
  lease: Lease,
  pipeline: Compiled,
  result: ResultFile,
  signal: AbortSignal,
): Promise<boolean> {
  const download = await deps.provider.downloadFile(result.id, signal);
  let position = result.position;
  let lines: Line[] = [];
  let characters = 0;

  const apply = async (): Promise<boolean> => {
    if (lines.length === 0) return true;
    const slice = await readSlice(pipeline, result.file, lines, position, signal);
    const counts = await lease.applyResults(result.batchId, slice);
    if (counts === null) return false;
    await deps.reached?.('slice_applied');
    for (const [outcome, count] of Object.entries(counts)) deps.metrics.rows.inc({ outcome }, count);
    deps.metrics.tokens.inc({ kind: 'input' }, slice.input_tokens);
    deps.metrics.tokens.inc({ kind: 'output' }, slice.output_tokens);
    if (counts.duplicate + counts.unknown > 0) {
      deps.logger.warn({ file: result.id, ...counts }, 'the file has lines that nobody asked for');
    }
    position = slice.to_position;
    lines = [];
    characters = 0;
    return true;
  };

  for await (const some of splitLines(inFull(download, result.id))) {
    for (const line of some) {
      if (line.end <= result.position) continue;
      lines.push(line);
      characters += line.text.length;
      if (lines.length >= sliceLines || characters >= sliceCharacters) {
        if (!(await apply())) return false;
        signal.throwIfAborted();
      }
    }
  }
  return await apply();
}

/** Ends with an error where fewer bytes came than there are: a cut download looks like a short file. */
export async function* inFull(
  download: { bytes: number | null; chunks: AsyncIterable<Uint8Array> },
  fileId: string,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  for await (const chunk of download.chunks) {
    received += chunk.length;
    yield chunk;
  }
  if (download.bytes !== null && received !== download.bytes) {
    throw new RowmillError('download_short', `${fileId} has ${download.bytes} bytes, and ${received} came`, {
      fields: { file: fileId, bytes: download.bytes, received },
    });
  }
}
