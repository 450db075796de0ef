import type { Execution } from './batch-execution.ts';
import { digestOf } from './digest.ts';
import { type BareError, executeRequest, type Outcome } from './execute.ts';
import type { RawResult } from './faults.ts';
import type { FileObject } from './file-store.ts';
import { idSeries } from './ids.ts';
import type { Json } from './request.ts';
import { ResultWriter } from './result-writer.ts';
import { noTokens, type Tokens } from './tokens.ts';

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

const unanswered = { status: 0, promptDigest: 0, ...noTokens };

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
    const outcome = this.#outcomeOf(customId, body);
    if ('error' in outcome) {
      this.#count(customId, unanswered);
      this.#write(this.#errors, customId, outcome.response, outcome.error);
      return;
    }
    if ('code' in outcome) {
      this.#count(customId, unanswered);
      this.#write(this.#errors, customId, 'null', JSON.stringify(outcome));
      return;
    }
    const { status, promptDigest, isFlawed } = outcome;
    this.#count(customId, outcome);
    const requestId = this.#newId('req_');
    const response = `{"status_code":${status},"request_id":"${requestId}","body":${outcome.body}}`;
    if (status !== 200) {
      this.#write(this.#errors, customId, response, 'null');
      return;
    }
    const isThere = !this.#isOutputLost && this.#write(this.#output, customId, response, 'null');
    // One payment is spoiled once, however much is wrong with its answer.
    if (!isThere || isFlawed) this.#execution.ledger.spoil(promptDigest);
  }

  #outcomeOf(customId: string, body: Json): Outcome | BareError | RawResult {
    const { batch, faults, cachedShare } = this.#execution;
    const fate = faults.outcome?.(batch, customId, body);
    if (fate !== undefined && !('flaw' in fate)) return fate;
    return executeRequest(batch.endpoint, body, this.#newId, { flaw: fate?.flaw, cachedShare });
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

  #count(customId: string, outcome: Pick<Outcome, 'status' | 'promptDigest' | keyof Tokens>): void {
    const { batch, ledger } = this.#execution;
    const { status, promptDigest, inputTokens, cachedTokens, outputTokens } = outcome;
    const succeeded = status === 200;
    ledger.record({ customId, promptDigest, succeeded, inputTokens, outputTokens });
    if (!succeeded) {
      batch.request_counts.failed++;
      return;
    }
    batch.request_counts.completed++;
    batch.usage.input_tokens += inputTokens;
    batch.usage.input_tokens_details.cached_tokens += cachedTokens;
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
