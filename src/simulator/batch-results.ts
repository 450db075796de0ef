import type { Execution } from './batch-execution.ts';
import { digestOf } from './digest.ts';
import { executeRequest } from './execute.ts';
import type { FileObject } from './file-store.ts';
import { idSeries } from './ids.ts';
import type { LedgerEntry } from './ledger.ts';
import type { Json } from './request.ts';
import { ResultWriter } from './result-writer.ts';

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

const unpaid = { promptDigest: 0, succeeded: false, inputTokens: 0, outputTokens: 0 };

/** Executes the requests of one batch, counts them, and writes the two files that they are answered in. */
export class BatchResults {
  #execution: Execution;
  #output: ResultWriter;
  #errors: ResultWriter;
  #newId = idSeries();
  #isOutputLost: boolean;

  constructor(execution: Execution) {
    const { batch, files, faults } = execution;
    const seed = digestOf(`${batch.endpoint} ${batch.request_counts.total}`);
    this.#execution = execution;
    this.#output = new ResultWriter(files, seed);
    this.#errors = new ResultWriter(files, seed);
    this.#isOutputLost = faults.losesOutput?.(batch) ?? false;
  }

  execute(customId: string, body: Json): void {
    const { batch, faults } = this.#execution;
    const outcome = faults.outcome?.(batch, customId) ?? executeRequest(batch.endpoint, body, this.#newId);
    if ('code' in outcome) {
      this.#count({ ...unpaid, customId });
      this.#write(this.#errors, customId, 'null', JSON.stringify(outcome));
      return;
    }
    const { status, promptDigest, inputTokens, outputTokens } = outcome;
    const succeeded = status === 200;
    this.#count({ customId, promptDigest, succeeded, inputTokens, outputTokens });
    const requestId = this.#newId('req_');
    const response = `{"status_code":${status},"request_id":"${requestId}","body":${outcome.body}}`;
    if (!succeeded) this.#write(this.#errors, customId, response, 'null');
    else if (this.#isOutputLost || !this.#write(this.#output, customId, response, 'null'))
      this.#execution.ledger.spoil(promptDigest);
  }

  /** Names a request that is not executed any more. */
  leaveOut(customId: string, why: keyof typeof unexecuted): void {
    this.#write(this.#errors, customId, 'null', JSON.stringify(unexecuted[why]));
  }

  /** Whether enough has gathered to be worth a write. */
  get isDue(): boolean {
    return this.#output.isDue || this.#errors.isDue;
  }

  async flush(): Promise<void> {
    if (this.#output.isDue) await this.#output.flush();
    if (this.#errors.isDue) await this.#errors.flush();
  }

  async finish(): Promise<{ output: FileObject | null; errors: FileObject | null }> {
    const { batch, faults, outputExpiresAfterSeconds } = this.#execution;
    const kept = { purpose: 'batch_output', expiresAfterSeconds: outputExpiresAfterSeconds };
    const isBare = faults.endsBare?.(batch) ?? false;
    return {
      output: await this.#output.finish({ ...kept, filename: `${batch.id}_output.jsonl` }, isBare),
      errors: await this.#errors.finish({ ...kept, filename: `${batch.id}_error.jsonl` }, isBare),
    };
  }

  async discard(): Promise<void> {
    await Promise.all([this.#output.discard(), this.#errors.discard()]);
  }

  #count(entry: LedgerEntry): void {
    const { batch, ledger } = this.#execution;
    const { inputTokens, outputTokens } = entry;
    ledger.record(entry);
    if (entry.succeeded) batch.request_counts.completed++;
    else batch.request_counts.failed++;
    batch.usage.input_tokens += inputTokens;
    batch.usage.output_tokens += outputTokens;
    batch.usage.total_tokens += inputTokens + outputTokens;
  }

  /** False where a fault keeps the client from reading the line in what is written for it. */
  #write(writer: ResultWriter, customId: string, response: string, error: string): boolean {
    const { batch, faults } = this.#execution;
    const id = this.#newId('batch_req_');
    const line = `{"id":"${id}","custom_id":${JSON.stringify(customId)},"response":${response},"error":${error}}`;
    if (faults.written === undefined) {
      writer.add(line);
      return true;
    }
    const lines = faults.written(batch, line);
    for (const each of lines) writer.add(each);
    return lines.some((each) => each === line || isLineOf(customId, each));
  }
}

function isLineOf(customId: string, text: string): boolean {
  try {
    return (JSON.parse(text) as { custom_id?: unknown }).custom_id === customId;
  } catch {
    return false;
  }
}
