import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Deps } from '../deps.ts';
import { messageOf, ProviderError } from '../errors.ts';
import type { InputRow } from '../pipeline/pipeline.ts';
import type { Compiled } from './compiled.ts';
import { loadPipeline } from './compiled.ts';
import { dropFile } from './drop-file.ts';
import { maxFileBytes, RequestFile } from './request-file.ts';

export type AcceptedChunk = {
  chunkId: number;
  pipelineId: number;
  rowCount: number;
  /** null: they are read from the table. */
  rows: InputRow[] | null;
};

export type SubmitResult = 'submitted' | 'empty' | 'rejected' | 'postponed' | 'lost';

const pageBytes = 4_000_000;

/**
 * Takes a chunk that this worker accepted to a running batch. Whatever happens, each of its rows is
 * afterwards in a batch, back in the queue, or named in row_failures.
 *
 * A crash before the intent lets the lease run out, and the chunk waits again; after it, the intent is
 * looked up at the provider by its key. Rejects only for faults of the store; an intent is let go of then, and
 * looked up likewise. Once the signal is aborted nothing is sent and the chunk waits again.
 */
export async function submitChunk(
  deps: Deps,
  chunk: AcceptedChunk,
  signal: AbortSignal,
  maxBytes: number = maxFileBytes,
): Promise<SubmitResult> {
  const logger = deps.logger.child({ chunk: chunk.chunkId });
  if (signal.aborted) {
    await deps.store.releaseChunk(chunk.chunkId);
    return 'postponed';
  }
  const pipeline = await loadPipeline(deps, chunk.pipelineId);
  if (!pipeline) {
    await deps.store.releaseChunk(chunk.chunkId);
    return 'lost';
  }

  const file = new RequestFile(chunk.chunkId, pipeline.writeLine, maxBytes);
  const leftOver = await fill(deps, chunk, file);
  if (file.refused.length > 0) {
    await deps.store.refuseRows(
      chunk.chunkId,
      file.refused.map((row) => ({
        n: row.n,
        h: row.hash,
        class: 'invalid_request' as const,
        code: null,
        message: row.message,
        retried: false,
        counted: true,
      })),
    );
  }
  if (leftOver.length > 0) {
    await deps.store.putBackRows(chunk.chunkId, leftOver);
    logger.info({ rows: leftOver.length, bytes: file.bytes }, 'batch is full, rows queued again');
  }
  if (file.requests === 0) {
    if (!(await deps.store.closeChunk(chunk.chunkId))) return 'lost';
    logger.info('chunk has nothing to send');
    return 'empty';
  }
  return await submitFile(deps, logger, chunk, pipeline, file, signal);
}

/** Fills the file with the rows that may be sent; returns the places that found no room. */
async function fill(deps: Deps, chunk: AcceptedChunk, file: RequestFile): Promise<number[]> {
  const addHeld = async (rows: InputRow[]): Promise<InputRow[]> => {
    if (rows.length === 0) return [];
    const held = await deps.store.holdRows(
      chunk.chunkId,
      rows.map((row) => ({ n: row.n, hash: row.hash })),
    );
    return file.add(held.size === rows.length ? rows : rows.filter((row) => held.has(row.n)));
  };

  if (chunk.rows) {
    const rest = await addHeld(chunk.rows);
    return rest.map((row) => row.n);
  }
  // Pages grow or shrink with the size of the rows, so that neither 50,000 small nor 1,000 huge ones fill the memory.
  let places = Math.min(100, chunk.rowCount);
  for (let from = 0; from < chunk.rowCount; ) {
    const rows = await deps.store.readChunk(chunk.chunkId, from, places);
    const before = file.bytes;
    const rest = await addHeld(rows);
    from += places;
    if (rest.length > 0) {
      const unread = Array.from({ length: Math.max(0, chunk.rowCount - from) }, (_, at) => from + at);
      return [...rest.map((row) => row.n), ...unread];
    }
    const bytesPerPlace = Math.max(1, (file.bytes - before) / places);
    places = Math.max(1, Math.min(5000, Math.floor(pageBytes / bytesPerPlace)));
  }
  return [];
}

async function submitFile(
  deps: Deps,
  chunkLogger: Logger,
  chunk: AcceptedChunk,
  pipeline: Compiled,
  file: RequestFile,
  signal: AbortSignal,
): Promise<SubmitResult> {
  const key = randomUUID();
  const batchId = await deps.store.beginBatch(key, [chunk.chunkId], file.requests, file.bytes);
  if (batchId === null) return 'lost';
  const logger = chunkLogger.child({ batch: batchId });
  try {
    return await sendFile(deps, logger, chunk, pipeline, file, { key, batchId }, signal);
  } catch (error) {
    // Else this worker, alive and renewing, would keep an intent that nobody works on.
    await deps.store.letGoOfBatch(batchId, messageOf(error));
    throw error;
  }
}

async function sendFile(
  deps: Deps,
  logger: Logger,
  chunk: AcceptedChunk,
  pipeline: Compiled,
  file: RequestFile,
  { key, batchId }: { key: string; batchId: number },
  signal: AbortSignal,
): Promise<SubmitResult> {
  const { store, provider } = deps;
  const { definition } = pipeline;
  let inputFileId: string;
  try {
    inputFileId = await provider.uploadFile(`rowmill-${key}.jsonl`, file.parts, signal);
  } catch (error) {
    // A file costs nothing and a batch does not exist yet: the chunk simply waits again.
    return await postpone(deps, logger, chunk.pipelineId, batchId, 'upload', error, signal);
  }
  if (!(await store.noteInputFile(batchId, inputFileId))) {
    logger.warn('the lease ran out during the upload; another worker has the chunk');
    await dropFile(deps, logger, inputFileId);
    return 'lost';
  }

  try {
    const metadata = { rowmill_key: key, rowmill_batch: String(batchId), rowmill_pipeline: definition.name };
    const batch = await provider.createBatch(
      { inputFileId, endpoint: definition.endpoint, metadata },
      signal,
    );
    if (!(await store.startBatch(batchId, batch.id, batch.status))) {
      logger.warn({ provider_batch: batch.id }, 'the batch was created, and another worker adopted it first');
      return 'lost';
    }
    await store.notePipelineProblem(chunk.pipelineId, null);
    logger.info({ provider_batch: batch.id, requests: file.requests, bytes: file.bytes }, 'batch created');
    return 'submitted';
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    if (error.kind === 'ambiguous') {
      // It may exist: nobody creates it again before the provider's list was searched for its key.
      logger.warn({ err: error }, 'it is unknown whether the batch was created; it is looked up by its key');
      await store.letGoOfBatch(batchId, error.message);
      return 'postponed';
    }
    await dropFile(deps, logger, inputFileId);
    if (!isRowsFault(error)) {
      return await postpone(deps, logger, chunk.pipelineId, batchId, 'create', error, signal);
    }
    logger.error({ err: error }, 'the provider refused the batch');
    await store.rejectBatch(batchId, {
      class: 'batch_rejected',
      code: error.providerCode ?? (error.status === null ? null : String(error.status)),
      message: error.message,
      retried: true,
      counted: true,
    });
    return 'rejected';
  }
}

/** A wrong key, an empty account or a full queue say nothing about the rows; these statuses do. */
function isRowsFault(error: ProviderError): boolean {
  return error.kind === 'rejected' && [400, 404, 413, 422].includes(error.status ?? 0);
}

async function postpone(
  deps: Deps,
  logger: Logger,
  pipelineId: number,
  batchId: number,
  step: 'upload' | 'create',
  error: unknown,
  signal: AbortSignal,
): Promise<SubmitResult> {
  const message = messageOf(error);
  logger.warn({ err: error }, `${step} failed; the chunk waits`);
  await deps.store.abandonBatch(batchId, message);
  // Cut short by the service's own end, it says nothing about the provider.
  if (signal.aborted) return 'postponed';
  await deps.store.notePipelineProblem(pipelineId, `${deps.provider.name} refuses work for now: ${message}`);
  return 'postponed';
}
