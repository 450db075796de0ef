import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Deps } from '../deps.ts';
import { ProviderError } from '../errors.ts';
import type { InputRow } from '../pipeline/pipeline.ts';
import type { Compiled } from './compiled.ts';
import { loadPipeline } from './compiled.ts';
import { RequestFile } from './request-file.ts';

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
 * looked up at the provider by its key. Rejects only for faults of the store, which has then changed nothing.
 */
export async function submitChunk(
  deps: Deps,
  chunk: AcceptedChunk,
  signal: AbortSignal,
): Promise<SubmitResult> {
  const logger = deps.logger.child({ chunk: chunk.chunkId });
  const pipeline = await loadPipeline(deps, chunk.pipelineId);
  if (!pipeline) {
    await deps.store.releaseChunk(chunk.chunkId);
    return 'lost';
  }

  const file = new RequestFile(chunk.chunkId, pipeline.writeLine);
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
    await deps.store.closeChunk(chunk.chunkId);
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
  const { store, provider } = deps;
  const { definition } = pipeline;
  const key = randomUUID();
  const batchId = await store.beginBatch(key, [chunk.chunkId], file.requests, file.bytes);
  if (batchId === null) return 'lost';
  const logger = chunkLogger.child({ batch: batchId });

  let inputFileId: string;
  try {
    inputFileId = await provider.uploadFile(`rowmill-${key}.jsonl`, file.parts, signal);
  } catch (error) {
    // A file costs nothing and a batch does not exist yet: the chunk simply waits again.
    return await postpone(deps, logger, chunk.pipelineId, batchId, 'upload', error);
  }
  if (!(await store.noteInputFile(batchId, inputFileId))) {
    logger.warn('the lease ran out during the upload; another worker has the chunk');
    await provider.deleteFile(inputFileId, signal);
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
    await provider.deleteFile(inputFileId, signal).catch((cleanup: unknown) => {
      logger.warn({ err: cleanup, file: inputFileId }, 'a file is left at the provider');
    });
    if (!isRowsFault(error)) {
      return await postpone(deps, logger, chunk.pipelineId, batchId, 'create', error);
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
): Promise<SubmitResult> {
  const message = error instanceof Error ? error.message : String(error);
  logger.warn({ err: error }, `${step} failed; the chunk waits`);
  await deps.store.abandonBatch(batchId, message);
  await deps.store.notePipelineProblem(pipelineId, `${deps.provider.name} refuses work for now: ${message}`);
  return 'postponed';
}
