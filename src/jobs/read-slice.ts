import { parseCustomId } from '../pipeline/custom-id.ts';
import { verdictOf } from '../pipeline/error-classes.ts';
import type { Line } from '../pipeline/split-lines.ts';
import { sumUsage, type Usage } from '../pipeline/usage.ts';
import type { AnsweredRow, Slice } from '../store/store.ts';
import { type LineReader, readLines } from './read-lines.ts';

// Places are integers of four bytes; a higher one is of no chunk, and Postgres could not even read it.
const highestPlace = 2_147_483_647;

/**
 * Takes lines of a result file and the position before them; resolves with what apply_results takes of them. Nothing in a line
 * raises: one that cannot be read is the failure of its row, or an unknown line where it names none. A line that takes longer
 * than half a second to check fails with `check_too_slow`.
 * Rejects with RowmillError `answers_too_slow` where fifty lines do, and with the signal's reason. Keeps nothing: it may be
 * called again with the same lines.
 */
export async function readSlice(
  pipeline: LineReader,
  file: Slice['file'],
  lines: Line[],
  from: number,
  signal?: AbortSignal,
): Promise<Slice> {
  const outcomes = await readLines(pipeline, lines, signal);
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
  for (const outcome of outcomes) {
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
