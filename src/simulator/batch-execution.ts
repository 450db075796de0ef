import type { FileHandle } from 'node:fs/promises';
import type { BatchObject } from './batch-object.ts';
import { digestOf } from './digest.ts';
import { executeRequest } from './execute.ts';
import type { Faults } from './faults.ts';
import type { FileObject, FileStore } from './file-store.ts';
import { idSeries } from './ids.ts';
import type { Ledger } from './ledger.ts';
import { readLines } from './lines.ts';
import { Breather, pause } from './pauses.ts';
import type { Json } from './request.ts';
import { ResultWriter } from './result-writer.ts';

export type Execution = {
  batch: BatchObject;
  input: FileHandle;
  files: FileStore;
  ledger: Ledger;
  faults: Faults;
  /** Aborted when the batch is cancelled: what is left is not executed but named in the error file. */
  cancelled: AbortSignal;
  /** True once the simulator closes: everything is dropped. */
  isClosing: () => boolean;
  perRequestMs: number;
  outputExpiresAfterSeconds: number;
};

export type Executed = {
  ended: 'completed' | 'cancelled' | 'expired';
  output: FileObject | null;
  errors: FileObject | null;
};

const unexecuted = {
  cancelled: {
    code: 'batch_cancelled',
    message: 'This request was not executed because the batch was cancelled.',
  },
  expired: {
    code: 'batch_expired',
    message: 'This request could not be executed before the completion window expired.',
  },
};

/** Executes a checked input file line by line; null where the simulator closed meanwhile. */
export async function executeBatch(execution: Execution): Promise<Executed | null> {
  const { batch, input, files, cancelled, isClosing, faults, perRequestMs } = execution;
  const seed = digestOf(`${batch.endpoint} ${batch.request_counts.total}`);
  const output = new ResultWriter(files, seed);
  const errors = new ResultWriter(files, seed);
  const breather = new Breather();
  const newId = idSeries();
  const startedAt = performance.now();
  let executed = 0;
  let ended: Executed['ended'] = 'completed';
  let isKept = false;

  try {
    for await (const lines of readLines(input)) {
      for (const text of lines) {
        if (isClosing()) return null;
        if (ended === 'completed') {
          if (cancelled.aborted) ended = 'cancelled';
          else if (faults.expires?.(batch, executed)) ended = 'expired';
        }
        const line = JSON.parse(text) as { custom_id: string; body: Json };
        if (ended !== 'completed') {
          const error = JSON.stringify(unexecuted[ended]);
          write(errors, newId, line.custom_id, 'null', error, execution);
        } else {
          executeLine(execution, line, output, errors, newId);
          executed++;
          const aheadMs = perRequestMs > 0 ? startedAt + executed * perRequestMs - performance.now() : 0;
          // Timers are coarse: several short delays are waited for at once.
          if (aheadMs >= 2) await pause(aheadMs, cancelled);
        }
        if (breather.isDue()) await breather.breathe();
        if (output.isDue) await output.flush();
        if (errors.isDue) await errors.flush();
      }
    }
    if (cancelled.aborted) ended = 'cancelled';
    if (isClosing()) return null;
    const kept = { purpose: 'batch_output', expiresAfterSeconds: execution.outputExpiresAfterSeconds };
    const outputFile = await output.finish({ ...kept, filename: `${batch.id}_output.jsonl` });
    const errorFile = await errors.finish({ ...kept, filename: `${batch.id}_error.jsonl` });
    isKept = true;
    return { ended, output: outputFile, errors: errorFile };
  } finally {
    if (!isKept) await Promise.all([output.discard(), errors.discard()]);
  }
}

function executeLine(
  execution: Execution,
  line: { custom_id: string; body: Json },
  output: ResultWriter,
  errors: ResultWriter,
  newId: (prefix: string) => string,
): void {
  const { batch, ledger, faults } = execution;
  const { custom_id: customId, body } = line;
  const outcome = faults.outcome?.(batch, customId) ?? executeRequest(batch.endpoint, body, newId);
  const { status, promptDigest, inputTokens, outputTokens } = outcome;
  const succeeded = status === 200;
  ledger.record({ customId, promptDigest, succeeded, inputTokens, outputTokens });
  if (succeeded) batch.request_counts.completed++;
  else batch.request_counts.failed++;
  batch.usage.input_tokens += inputTokens;
  batch.usage.output_tokens += outputTokens;
  batch.usage.total_tokens += inputTokens + outputTokens;
  const response = `{"status_code":${status},"request_id":"${newId('req_')}","body":${outcome.body}}`;
  write(succeeded ? output : errors, newId, customId, response, 'null', execution);
}

function write(
  writer: ResultWriter,
  newId: (prefix: string) => string,
  customId: string,
  response: string,
  error: string,
  { batch, faults }: Execution,
): void {
  const id = newId('batch_req_');
  const line = `{"id":"${id}","custom_id":${JSON.stringify(customId)},"response":${response},"error":${error}}`;
  if (faults.written === undefined) writer.add(line);
  else for (const each of faults.written(batch, line)) writer.add(each);
}
