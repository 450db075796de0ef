import { open } from 'node:fs/promises';
import { type Execution, executeBatch } from './batch-execution.ts';
import { type BatchErrorItem, type BatchObject, hasEnded, moveTo, uncancellable } from './batch-object.ts';
import { batchLimits, validateInput } from './batch-validation.ts';
import type { EnqueuedTokens } from './enqueued-tokens.ts';
import type { Faults, StickyState } from './faults.ts';
import type { FileStore } from './file-store.ts';
import type { Ledger } from './ledger.ts';
import { datedModel } from './models.ts';
import { pause, Slots } from './pauses.ts';
import type { Json } from './request.ts';
import { missingFile } from './validation-errors.ts';

export type Delays = { validatingMs: number; perRequestMs: number; finalizingMs: number };

export type BatchRunnerDeps = {
  files: FileStore;
  ledger: Ledger;
  delays: Delays;
  faults: Faults;
  enqueued: EnqueuedTokens;
  cachedShare: number;
  onEnded: (batch: BatchObject) => void;
  onError: (error: unknown, batch: BatchObject) => void;
};

// A few batches at a time: their work is all this thread's, so more would only be slower together.
const batchesAtATime = 4;

/** Takes batches through their states, from `validating` to a terminal one. */
export class BatchRunner {
  #deps: BatchRunnerDeps;
  #slots = new Slots(batchesAtATime);
  #cancels = new Map<string, AbortController>();
  #running = new Set<Promise<void>>();
  #isClosing = false;

  constructor(deps: BatchRunnerDeps) {
    this.#deps = deps;
  }

  /** Starts a batch and returns at once; how it goes can be read off the object. */
  start(batch: BatchObject, outputExpiresAfterSeconds: number): void {
    const cancel = new AbortController();
    this.#cancels.set(batch.id, cancel);
    const run = this.#run(batch, outputExpiresAfterSeconds, cancel.signal)
      .catch((error: unknown) => {
        this.#deps.onError(error, batch);
        batch.errors = errorList([{ code: 'server_error', message: String(error), param: null, line: null }]);
        batch.status = 'failed';
      })
      .finally(() => {
        this.#cancels.delete(batch.id);
        this.#running.delete(run);
        if (hasEnded(batch)) this.#deps.onEnded(batch);
      });
    this.#running.add(run);
  }

  /** Asks a batch to stop. To ask again changes nothing; 409 where it is too late. */
  cancel(batch: BatchObject): void {
    if (batch.status === 'cancelling' || batch.status === 'cancelled') return;
    if (batch.status !== 'validating' && batch.status !== 'in_progress') throw uncancellable(batch);
    moveTo(batch, 'cancelling');
    this.#cancels.get(batch.id)?.abort();
  }

  /** Drops all that runs; resolves once nothing does. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const cancel of this.#cancels.values()) cancel.abort();
    await Promise.all(this.#running);
  }

  async #run(batch: BatchObject, outputExpiresAfterSeconds: number, cancelled: AbortSignal): Promise<void> {
    const { files, ledger, faults, delays, enqueued, cachedShare } = this.#deps;
    await pause(delays.validatingMs + this.#extraMs(batch, 'validating'), cancelled);
    if (cancelled.aborted) return this.#cancelledEarly(batch);
    // Opened once: an input file that is deleted while its batch runs is read to its end all the same.
    const isKnown = files.find(batch.input_file_id) !== undefined;
    const input = isKnown ? await open(files.pathOf(batch.input_file_id)) : null;
    if (!input) return fail(batch, [missingFile(batch.input_file_id)]);
    try {
      const { checked } = faults;
      const check = checked && ((body: Json) => checked(batch, body));
      const { errors, total, model, inputTokens } = await this.#slots.run(() =>
        validateInput(input, batch.endpoint, cancelled, batchLimits, check),
      );
      if (cancelled.aborted) return this.#cancelledEarly(batch);
      batch.model = model === null ? null : datedModel(model);
      errors.push(...(faults.validation?.(batch) ?? []));
      if (errors.length > 0) return fail(batch, errors);
      const tooMany = enqueued.admit(batch, inputTokens);
      if (tooMany) return fail(batch, [tooMany]);
      batch.request_counts.total = total;
      moveTo(batch, 'in_progress');
      await pause(this.#extraMs(batch, 'in_progress'), cancelled);
      const execution = {
        ...{ batch, input, files, ledger, faults, cancelled, outputExpiresAfterSeconds, cachedShare },
        perRequestMs: delays.perRequestMs,
        isClosing: () => this.#isClosing,
      };
      await this.#slots.run(() => this.#execute(execution));
    } finally {
      await input.close();
    }
  }

  async #execute(execution: Execution): Promise<void> {
    const { batch, cancelled } = execution;
    const executed = await executeBatch(execution);
    if (executed === null) return;
    let { ended } = executed;
    // A cancel may have come in while the last lines were written: then that is how it ends.
    if (batch.status === 'cancelling') ended = 'cancelled';
    if (ended === 'completed') {
      moveTo(batch, 'finalizing');
      await pause(this.#deps.delays.finalizingMs + this.#extraMs(batch, 'finalizing'), cancelled);
      if (this.#isClosing) return;
    }
    batch.output_file_id = executed.output?.id ?? null;
    batch.error_file_id = executed.errors?.id ?? null;
    moveTo(batch, ended);
  }

  #extraMs(batch: BatchObject, state: StickyState): number {
    return this.#deps.faults.stays?.(batch, state) ?? 0;
  }

  // Nothing had been accepted for execution yet, so there is nothing to report in files.
  #cancelledEarly(batch: BatchObject): void {
    if (!this.#isClosing) moveTo(batch, 'cancelled');
  }
}

function fail(batch: BatchObject, errors: BatchErrorItem[]): void {
  batch.errors = errorList(errors);
  moveTo(batch, 'failed');
}

function errorList(data: BatchErrorItem[]): BatchObject['errors'] {
  return { object: 'list', data };
}
