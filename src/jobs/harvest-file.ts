import type { Deps } from '../deps.ts';
import { RowmillError } from '../errors.ts';
import { type Line, splitLines } from '../pipeline/split-lines.ts';
import type { EndedBatch, Lease, Slice, SliceCounts } from '../store/store.ts';
import type { Compiled } from '../submission/compiled.ts';
import { type ApplyLines, applyLines } from './apply-lines.ts';
import { readSlice } from './read-slice.ts';
import type { Turn } from './turn.ts';

const sliceLines = 1000;
const sliceCharacters = 4_000_000;
// Beyond two for each request: a batch of one may have some as well.
const freeStrangers = 10_000;

export type ResultFile = {
  batch: Pick<EndedBatch, 'batch_id' | 'requests' | 'tries'>;
  file: 'output' | 'error';
  id: string;
  /** Bytes that were applied before. */
  position: number;
};

/** What a harvest of a batch has seen of both its files, this run and those before. */
export type Seen = { written: number; strangeLines: number };

/**
 * Streams a result file into the table, slice by slice, each with the position that it reaches. Resolves with `read` at its
 * end, with `turn_over` where others are to be read first, and with `lost` where the batch is not under this lease any
 * more. Rejects `download_short` before the last, possibly cut line is read, `no_results` and `too_many_lines` where the file
 * is not one of results, and whatever provider and store reject with; what was applied stays applied.
 */
export async function harvestFile(
  deps: Deps,
  lease: Lease,
  pipeline: Compiled,
  result: ResultFile,
  seen: Seen,
  turn: Turn,
  signal: AbortSignal,
): Promise<'read' | 'turn_over' | 'lost'> {
  const { batch, file, id } = result;
  const download = await deps.provider.downloadFile(id, signal, turn.isHurried);
  let position = result.position;
  let lines: Line[] = [];
  let characters = 0;

  const how: ApplyLines = {
    read: (some, from) => readSlice(pipeline, file, some, from, signal),
    apply: (slice) => lease.applyResults(batch.batch_id, slice),
    hasWritten: () => seen.written > 0,
    tries: batch.tries,
    onApplied: async ({ slice, counts }) => {
      position = slice.to_position;
      turn.progressed();
      seen.written += counts.enriched;
      seen.strangeLines += counts.duplicate + counts.unknown;
      await deps.reached?.('slice_applied');
      countApplied(deps, id, slice, counts);
    },
  };
  const apply = async (): Promise<boolean> => {
    if (lines.length === 0) return true;
    const isOurs = await applyLines(how, lines, position);
    lines = [];
    characters = 0;
    refuseStrangers(id, batch.requests, seen.strangeLines);
    return isOurs;
  };

  for await (const some of splitLines(inFull(download, id, turn, result.position))) {
    for (const line of some) {
      if (line.end <= result.position) continue;
      lines.push(line);
      characters += line.text.length;
      if (lines.length >= sliceLines || characters >= sliceCharacters) {
        if (!(await apply())) return 'lost';
        signal.throwIfAborted();
        if (turn.isOver) return 'turn_over';
      }
    }
  }
  return (await apply()) ? 'read' : 'lost';
}

function countApplied({ metrics, logger }: Deps, file: string, slice: Slice, counts: SliceCounts): void {
  for (const [outcome, count] of Object.entries(counts)) metrics.rows.inc({ outcome }, count);
  metrics.tokens.inc({ kind: 'input' }, slice.input_tokens);
  metrics.tokens.inc({ kind: 'output' }, slice.output_tokens);
  if (counts.duplicate + counts.unknown > 0) {
    logger.warn({ file, ...counts }, 'the file has lines that nobody asked for');
  }
}

/** A file without an end would be read without an end. */
function refuseStrangers(file: string, requests: number, strangeLines: number): void {
  const most = 2 * requests + freeStrangers;
  if (strangeLines <= most) return;
  throw new RowmillError(
    'too_many_lines',
    `Expected ${requests} results in ${file}; it has more than ${most} lines that nobody asked for.`,
    { fields: { file, requests, strangeLines } },
  );
}

/**
 * The bytes of a download. Ends with `download_short` where fewer or more came than the provider says there are: a cut
 * download looks like a short file; and with `no_results`, see Turn.
 */
export async function* inFull(
  download: { bytes: number | null; chunks: AsyncIterable<Uint8Array> },
  fileId: string,
  turn: Turn,
  appliedBytes = 0,
): AsyncGenerator<Uint8Array> {
  const { bytes } = download;
  let received = 0;
  for await (const chunk of download.chunks) {
    received += chunk.length;
    if (bytes !== null && received > bytes) break;
    if (received > appliedBytes) turn.received(chunk.length, fileId);
    yield chunk;
  }
  if (bytes !== null && received !== bytes) {
    throw new RowmillError('download_short', `${fileId} has ${bytes} bytes, and ${received} came`, {
      fields: { file: fileId, bytes, received },
    });
  }
}
