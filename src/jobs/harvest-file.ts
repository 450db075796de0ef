import type { Deps } from '../deps.ts';
import { RowmillError } from '../errors.ts';
import { parseCustomId } from '../pipeline/custom-id.ts';
import { verdictOf } from '../pipeline/error-classes.ts';
import { type Line, splitLines } from '../pipeline/split-lines.ts';
import { sumUsage, type Usage } from '../pipeline/usage.ts';
import type { AnsweredRow, Lease, Slice } from '../store/store.ts';
import type { Compiled } from '../submission/compiled.ts';

const sliceLines = 1000;
const sliceCharacters = 4_000_000;
// Places are integers of four bytes; a higher one is of no chunk, and Postgres could not even read it.
const highestPlace = 2_147_483_647;

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
    const slice = readSlice(pipeline, result.file, lines, position);
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

function readSlice(pipeline: Compiled, file: ResultFile['file'], lines: Line[], from: number): Slice {
  const slice: Slice = {
    file,
    from_position: from,
    to_position: lines.at(-1)!.end,
    answers: [],
    failures: [],
    unknown_lines: 0,
    repeated_lines: 0,
    input_tokens: 0,
    cached_tokens: 0,
    output_tokens: 0,
    billed_requests: 0,
  };
  const seen = new Set<string>();
  const usages: (Usage | null)[] = [];
  for (const line of lines) {
    const outcome = pipeline.readOutcome(line.text);
    // Tokens were paid for, whatever the line is good for.
    usages.push(outcome.usage);
    const id = outcome.customId === null ? null : parseCustomId(outcome.customId);
    if (id === null || id.n > highestPlace) {
      slice.unknown_lines += 1;
      continue;
    }
    if (seen.has(outcome.customId!)) {
      slice.repeated_lines += 1;
      continue;
    }
    seen.add(outcome.customId!);
    const row = { c: id.chunkId, n: id.n, h: id.hash };
    if (outcome.ok) {
      const answered: AnsweredRow = row;
      for (const [at, value] of outcome.values.entries()) answered[`o${at}`] = value;
      slice.answers.push(answered);
    } else {
      const { errorClass, code, message } = outcome;
      slice.failures.push({ ...row, ...verdictOf(errorClass, code, message) });
    }
  }
  slice.billed_requests = usages.filter((usage) => usage !== null).length;
  const used = sumUsage(usages);
  if (used) {
    slice.input_tokens = used.inputTokens;
    slice.cached_tokens = used.cachedTokens;
    slice.output_tokens = used.outputTokens;
  }
  return slice;
}
