import { randomUUID } from 'node:crypto';
import type { Deps } from '../deps.ts';
import { messageOf, ProviderError } from '../errors.ts';
import { msSince, now } from '../moment.ts';
import type { InputRow } from '../pipeline/pipeline.ts';
import type { Lease } from '../store/store.ts';
import type { Compiled } from './compiled.ts';
import { loadPipeline } from './compiled.ts';
import { dropFile } from './drop-file.ts';
import { fileNameOf } from './file-name.ts';
import { recordBatch } from './record-batch.ts';
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
 * Takes a chunk that is under this lease to a running batch. Whatever happens, each of its rows is
 * afterwards in a batch, back in the queue, or named in row_failures.
 *
 * A crash before the intent lets the lease run out, and the chunk waits again; after it, the intent is
 * looked up at the provider by its key. Rejects only for faults of the store; an intent is let go of then, and
 * looked up likewise. Once the signal is aborted nothing is sent and the chunk waits again.
 */
export async function submitChunk(
  deps: Deps,
  lease: Lease,
  chunk: AcceptedChunk,
  signal: AbortSignal,
  maxBytes: number = maxFileBytes,
): Promise<SubmitResult> {
  const logger = deps.logger.child({ chunk: chunk.chunkId });
  await deps.reached?.('chunk_claimed');
  if (signal.aborted) {
    await lease.releaseChunk(chunk.chunkId);
    return 'postponed';
  }
  const pipeline = await loadPipeline(deps, chunk.pipelineId);
  if (!pipeline) {
    await lease.releaseChunk(chunk.chunkId);
    return 'lost';
  }

  const file = new RequestFile(chunk.chunkId, pipeline.writeLine, maxBytes);
  const leftOver = await fill(deps, lease, chunk, file);
  await deps.reached?.('rows_held');
  if (file.refused.length > 0) {
    await lease.refuseRows(
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
  if (file.requests === 0) {
    if (!(await lease.closeChunk(chunk.chunkId))) return 'lost';
    logger.info('chunk has nothing to send');
    return 'empty';
  }

  const key = randomUUID();
  const places = leftOver.map((n) => ({ c: chunk.chunkId, n }));
  const batchId = await lease.beginBatch(key, [chunk.chunkId], file.requests, file.bytes, places);
  if (batchId === null) return 'lost';
  await deps.reached?.('intent_written');
  const batchLogger = logger.child({ batch: batchId });
  if (places.length > 0) {
    batchLogger.info({ rows: places.length, bytes: file.bytes }, 'batch is full, rows queued again');
  }
  try {
    const intent: Intent = { key, batchId, pipelineId: chunk.pipelineId };
    return await sendFile({ ...deps, logger: batchLogger }, lease, intent, pipeline, file, signal);
  } catch (error) {
    // For whoever comes by, sooner than when the lease runs out.
    await lease.letGoOfBatch(batchId, messageOf(error));
    throw error;
  }
}

/** Fills the file with the rows that may be sent; returns the places that found no room. */
async function fill(deps: Deps, lease: Lease, chunk: AcceptedChunk, file: RequestFile): Promise<number[]> {
  const addHeld = async (rows: InputRow[]): Promise<InputRow[]> => {
    if (rows.length === 0) return [];
    const held = await lease.holdRows(
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

type Intent = { key: string; batchId: number; pipelineId: number };

async function sendFile(
  deps: Deps,
  lease: Lease,
  intent: Intent,
  pipeline: Compiled,
  file: RequestFile,
  signal: AbortSignal,
): Promise<SubmitResult> {
  const { provider, logger } = deps;
  const { key, batchId } = intent;
  const { definition } = pipeline;
  let inputFileId: string;
  try {
    const whileOurs = AbortSignal.any([signal, lease.hold.signal]);
    inputFileId = await provider.uploadFile(fileNameOf(key), file.parts, whileOurs);
  } catch (error) {
    // A file costs nothing and a batch does not exist yet: the chunk simply waits again.
    return await postpone(deps, lease, intent, error, isUnknown(error), signal);
  }
  await deps.reached?.('file_uploaded');

  const notedAt = now();
  if (!(await lease.noteInputFile(batchId, inputFileId))) {
    logger.warn('the lease ran out during the upload; another worker has the chunk');
    await dropFile(deps, inputFileId);
    return 'lost';
  }
  await deps.reached?.('file_noted');

  try {
    const metadata = { rowmill_key: key, rowmill_batch: String(batchId), rowmill_pipeline: definition.name };
    // Whoever finds this intent silent waits for settings.adopt_after, which is longer than a lease, from the note
    // on before the work is sent anew. So nothing is sent, and nothing waited for, beyond one lease from there.
    lease.hold.assertHeld();
    const patience = AbortSignal.timeout(Math.max(1, Math.floor(lease.hold.durationMs - msSince(notedAt))));
    const batch = await provider.createBatch(
      { inputFileId, endpoint: definition.endpoint, metadata },
      AbortSignal.any([signal, lease.hold.signal, patience]),
    );
    await deps.reached?.('batch_created');
    if (!(await recordBatch(deps, batchId, batch))) return 'lost';
    await deps.store.notePipelineProblem(intent.pipelineId, null);
    logger.info({ provider_batch: batch.id, requests: file.requests, bytes: file.bytes }, 'batch created');
    return 'submitted';
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    if (isUnknown(error)) {
      // It may exist: nobody creates it again before the provider's list was searched for its key.
      logger.warn({ err: error }, 'it is unknown whether the batch was created; it is looked up by its key');
      await deps.reached?.('create_unanswered');
      await lease.letGoOfBatch(batchId, error.message);
      return 'postponed';
    }
    const isLeft = !(await dropFile(deps, inputFileId));
    if (!isRowsFault(error)) return await postpone(deps, lease, intent, error, isLeft, signal);
    logger.error({ err: error }, 'the provider refused the batch');
    await lease.rejectBatch(
      batchId,
      {
        class: 'batch_rejected',
        code: error.providerCode ?? (error.status === null ? null : String(error.status)),
        message: error.message,
        retried: true,
        counted: true,
      },
      isLeft,
    );
    return 'rejected';
  }
}

function isUnknown(error: unknown): boolean {
  return error instanceof ProviderError && error.kind === 'ambiguous';
}

/** A wrong key, an empty account or a full queue say nothing about the rows; these statuses do. */
function isRowsFault(error: ProviderError): boolean {
  return error.kind === 'rejected' && [400, 404, 413, 422].includes(error.status ?? 0);
}

async function postpone(
  { store, provider, logger }: Deps,
  lease: Lease,
  intent: Intent,
  error: unknown,
  mayHaveLeft: boolean,
  signal: AbortSignal,
): Promise<SubmitResult> {
  const message = messageOf(error);
  logger.warn({ err: error }, 'the provider took no batch; the chunk waits');
  await lease.abandonBatch(intent.batchId, message, mayHaveLeft);
  // Cut short by the service's own end, it says nothing about the provider.
  if (signal.aborted) return 'postponed';
  await store.notePipelineProblem(intent.pipelineId, `${provider.name} refuses work for now: ${message}`);
  return 'postponed';
}
