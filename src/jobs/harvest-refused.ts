import type { Deps } from '../deps.ts';
import { ProviderError } from '../errors.ts';
import { parseCustomId } from '../pipeline/custom-id.ts';
import { verdictOf } from '../pipeline/error-classes.ts';
import { speaksOfWholeBatch } from '../pipeline/provider-codes.ts';
import { splitLines } from '../pipeline/split-lines.ts';
import { findCustomId } from '../pipeline/unread-line.ts';
import type { EndedBatch, FailedRow, Lease } from '../store/store.ts';
import { inFull } from './harvest-file.ts';
import type { Turn } from './turn.ts';
import { givenUpFor } from './unreadable.ts';

type BatchError = NonNullable<EndedBatch['provider_errors']>[number];

/**
 * A batch that the provider refused for some of its lines: their rows fail with what it says of them, so that the others
 * can go round again without them. Which rows they are stands in the input file, which is still there.
 * Resolves with how many rows were named: 0 where it refused the batch as a whole, or the file is gone; null where the
 * batch is not under this lease any more. Runs twice harmlessly: the position says that it was done.
 */
export async function harvestRefused(
  deps: Pick<Deps, 'provider' | 'logger'>,
  lease: Lease,
  batch: EndedBatch,
  turn: Turn,
  signal: AbortSignal,
): Promise<number | null> {
  if (batch.error_position > 0) return batch.error_position;
  const byLine = new Map<number, BatchError>();
  for (const error of batch.provider_errors ?? []) {
    if (error.line !== null && !speaksOfWholeBatch(error.code)) byLine.set(error.line, error);
  }
  if (byLine.size === 0 || batch.input_file_id === null) return 0;
  let failures: FailedRow[];
  try {
    failures = await rowsOfLines(deps, batch.input_file_id, byLine, turn, signal);
  } catch (error) {
    const isGone = error instanceof ProviderError && error.status === 404;
    if (!isGone && givenUpFor(error, batch.tries) === null) throw error;
    deps.logger.warn(
      { err: error },
      'the input file cannot be read; which rows the provider refused cannot be told',
    );
    return 0;
  }
  if (failures.length === 0) return 0;
  const counts = await lease.applyResults(batch.batch_id, {
    file: 'error',
    from_position: 0,
    // There is no error file; so many rows were named.
    to_position: failures.length,
    answers: [],
    failures,
    ...{ unknown_lines: 0, repeated_lines: 0 },
    ...{ input_tokens: 0, cached_tokens: 0, output_tokens: 0, billed_requests: 0 },
  });
  return counts === null ? null : failures.length;
}

async function rowsOfLines(
  deps: Pick<Deps, 'provider'>,
  fileId: string,
  byLine: Map<number, BatchError>,
  turn: Turn,
  signal: AbortSignal,
): Promise<FailedRow[]> {
  const failures: FailedRow[] = [];
  const download = await deps.provider.downloadFile(fileId, signal, turn.isHurried);
  let number = 0;
  for await (const lines of splitLines(inFull(download, fileId, turn))) {
    for (const line of lines) {
      number += 1;
      const error = byLine.get(number);
      const customId = error === undefined ? null : findCustomId(line.text);
      const id = customId === null ? null : parseCustomId(customId);
      if (!error || !id) continue;
      const message = `The provider refused its line of the batch: ${error.message}`;
      const verdict = verdictOf('invalid_request', error.code, message);
      failures.push({ c: id.chunkId, n: id.n, h: id.hash, ...verdict });
    }
  }
  return failures;
}
