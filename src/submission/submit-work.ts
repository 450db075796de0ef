import { randomUUID } from 'node:crypto';
import type { Deps } from '../deps.ts';
import { messageOf } from '../errors.ts';
import { verdictOf } from '../pipeline/error-classes.ts';
import type { InputRow } from '../pipeline/pipeline.ts';
import type { Lease, Place } from '../store/store.ts';
import type { Compiled } from './compiled.ts';
import { loadPipeline } from './compiled.ts';
import { fillFile } from './fill-file.ts';
import { type FileLimits, fileLimits, RequestFile } from './request-file.ts';
import { sendFile } from './send-file.ts';

export type AcceptedChunk = {
  chunkId: number;
  rowCount: number;
  /** null: they are read from the table. */
  rows: InputRow[] | null;
};

/** Chunks of one pipeline that are to travel in one batch. */
export type Work = { pipelineId: number; chunks: AcceptedChunk[] };

export type SubmitResult = 'submitted' | 'empty' | 'rejected' | 'postponed' | 'waits' | 'lost';

/**
 * Takes chunks that are under this lease to a running batch. Whatever happens, each of their rows is afterwards in a
 * batch, back in the queue, in a chunk that waits for room, or named in row_failures.
 *
 * A crash before the intent lets the lease run out, and the chunks wait again; after it, the intent is
 * looked up at the provider by its key. Rejects only for faults of the store; an intent is let go of then, and
 * looked up likewise. Once the signal is aborted nothing is sent and the chunks wait again.
 */
export async function submitWork(
  deps: Deps,
  lease: Lease,
  work: Work,
  signal: AbortSignal,
  limits: FileLimits = fileLimits,
): Promise<SubmitResult> {
  await deps.reached?.('chunk_claimed');
  if (signal.aborted) {
    await releaseAll(lease, work.chunks);
    return 'postponed';
  }
  const pipeline = await loadPipeline(deps, work.pipelineId);
  if (!pipeline) {
    await releaseAll(lease, work.chunks);
    return 'lost';
  }
  const file = new RequestFile(pipeline, limits);
  const { taken, leftOver } = await fill(deps, lease, work.chunks, file);
  await deps.reached?.('rows_held');
  await refuse(lease, file);

  const figures = file.figures();
  const logger = deps.logger.child({ chunk: taken[0]!.chunkId, chunks: taken.length });
  let isLost = false;
  for (const { chunkId } of taken) {
    if (!figures.has(chunkId) && !(await lease.closeChunk(chunkId))) isLost = true;
  }
  if (file.requests === 0) {
    if (isLost) return 'lost';
    logger.info('chunk has nothing to send');
    return 'empty';
  }

  const key = randomUUID();
  const begun = await begin(deps, lease, key, pipeline, file, leftOver);
  if (typeof begun === 'string') return begun;
  const { batchId } = begun;
  await deps.reached?.('intent_written');
  const batchLogger = logger.child({ batch: batchId });
  if (leftOver.length > 0) {
    batchLogger.info({ rows: leftOver.length, bytes: file.bytes }, 'batch is full, rows queued again');
  }
  try {
    const intent = { key, batchId, pipelineId: work.pipelineId };
    return await sendFile({ ...deps, logger: batchLogger }, lease, intent, pipeline, file, signal);
  } catch (error) {
    // For whoever comes by, sooner than when the lease runs out.
    await lease.letGoOfBatch(batchId, messageOf(error));
    throw error;
  }
}

/** Chunk by chunk, until the file is full; what it did not come to waits again as it was. */
async function fill(
  deps: Deps,
  lease: Lease,
  chunks: AcceptedChunk[],
  file: RequestFile,
): Promise<{ taken: AcceptedChunk[]; leftOver: Place[] }> {
  for (const [at, chunk] of chunks.entries()) {
    const before = file.requests;
    const leftOver = await fillFile(deps, lease, chunk, file);
    if (leftOver.length === 0) continue;
    const fitsNothing = at > 0 && file.requests === before;
    await releaseAll(lease, chunks.slice(fitsNothing ? at : at + 1));
    return { taken: chunks.slice(0, fitsNothing ? at : at + 1), leftOver: fitsNothing ? [] : leftOver };
  }
  return { taken: chunks, leftOver: [] };
}

async function refuse(lease: Lease, file: RequestFile): Promise<void> {
  for (const [chunkId, rows] of Map.groupBy(file.refused, (row) => row.c)) {
    await lease.refuseRows(
      chunkId,
      rows.map(({ n, hash, message }) => ({ n, h: hash, ...verdictOf('invalid_request', null, message) })),
    );
  }
}

/** Writes the intent of as much of the file as there is room for; where there is none, the chunks wait for it. */
async function begin(
  deps: Deps,
  lease: Lease,
  key: string,
  pipeline: Compiled,
  file: RequestFile,
  leftOver: Place[],
): Promise<{ batchId: number } | SubmitResult> {
  for (;;) {
    const figures = file.figures();
    const chunkIds = [...figures.keys()];
    const answer = await lease.beginBatch({
      key,
      chunk_ids: chunkIds,
      version: pipeline.definition.version,
      requests: file.requests,
      bytes: file.bytes,
      raw_input_tokens: file.rawInputTokens,
      max_output_tokens: file.maxOutputTokens,
      left_over: leftOver,
      twins: file.twins,
    });
    if (answer.status === 'begun') return { batchId: answer.batch_id };
    if (answer.status === 'lost') return 'lost';
    const chunks = [...figures].map(([c, figure]) => ({ c, ...figure }));
    if (answer.status === 'altered') {
      deps.logger.info('the pipeline was altered meanwhile; the chunks are read again');
      await lease.holdBackChunks(null, null, chunks);
      return 'postponed';
    }
    const fits = Math.min(answer.fits, file.requests - 1);
    if (fits < 1) {
      deps.logger.info({ chunks: chunkIds, reason: answer.reason }, 'the chunks wait for room');
      await lease.holdBackChunks(answer.waits_for, answer.reason, chunks);
      return 'waits';
    }
    await cut(lease, file, fits, answer, leftOver);
  }
}

/** Cuts the file to what fits. Chunks that lost all their rows wait; the others' rows go back to the queue. */
async function cut(
  lease: Lease,
  file: RequestFile,
  fits: number,
  why: { waits_for: string; reason: string },
  leftOver: Place[],
): Promise<void> {
  const before = file.figures();
  const lost = file.cut(fits);
  const left = file.figures();
  const empty = [...before].filter(([c]) => !left.has(c)).map(([c, figure]) => ({ c, ...figure }));
  if (empty.length > 0) await lease.holdBackChunks(why.waits_for, why.reason, empty);
  leftOver.push(...lost.filter(({ c }) => left.has(c)));
}

async function releaseAll(lease: Lease, chunks: AcceptedChunk[]): Promise<void> {
  for (const { chunkId } of chunks) await lease.releaseChunk(chunkId);
}
