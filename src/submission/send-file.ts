import type { Deps } from '../deps.ts';
import { messageOf, ProviderError } from '../errors.ts';
import { msSince, now } from '../moment.ts';
import { verdictOf } from '../pipeline/error-classes.ts';
import { isQuotaCode } from '../pipeline/provider-codes.ts';
import type { AbandonCause, Lease } from '../store/store.ts';
import type { Compiled } from './compiled.ts';
import { dropFile } from './drop-file.ts';
import { fileNameOf } from './file-name.ts';
import { recordBatch, rejectTaken } from './record-batch.ts';
import type { RequestFile } from './request-file.ts';
import type { SubmitResult } from './submit-work.ts';

export type Intent = { key: string; batchId: number; pipelineId: number };

/** Uploads the file of an intent and creates its batch. Rejects only for faults of the store. */
export async function sendFile(
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
    // A file costs nothing and a batch does not exist yet: the chunks simply wait again.
    return await postpone(deps, lease, intent, error, isUnknown(error), signal);
  }
  await deps.reached?.('file_uploaded');

  const notedAt = now();
  if (!(await lease.noteInputFile(batchId, inputFileId))) {
    logger.warn('the lease ran out during the upload; another worker has the chunks');
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
    const recorded = await recordBatch(deps, batchId, batch);
    if (recorded === 'surplus') return 'lost';
    if (recorded === 'taken') {
      const problem = await rejectTaken(lease, batchId, batch.id);
      if (problem === null) return 'lost';
      await deps.store.notePipelineProblem(intent.pipelineId, problem);
      return 'rejected';
    }
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
    const code = error.providerCode ?? (error.status === null ? null : String(error.status));
    await lease.rejectBatch(batchId, verdictOf('batch_rejected', code, error.message), isLeft);
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

function causeOf(error: unknown): AbandonCause {
  if (error instanceof ProviderError) {
    if (error.providerCode === 'token_limit_exceeded') return 'tokens';
    if (error.status === 402 || isQuotaCode(error.providerCode)) return 'quota';
  }
  return 'provider';
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
  logger.warn({ err: error }, 'the provider took no batch; the chunks wait');
  // Cut short by the service's own end, or by the loss of the lease, it says nothing about the provider.
  const isOurs = signal.aborted || lease.hold.signal.aborted;
  const cause = isOurs ? null : causeOf(error);
  await lease.abandonBatch(intent.batchId, message, mayHaveLeft, cause);
  if (isOurs || cause === 'tokens') return 'postponed';
  await store.notePipelineProblem(intent.pipelineId, `${provider.name} refuses work for now: ${message}`);
  return 'postponed';
}
