import { randomBytes } from 'node:crypto';
import { ProviderError, type ProviderErrorKind } from '../../src/errors.ts';
import type {
  BatchError,
  BatchPage,
  Provider,
  ProviderBatch,
  ProviderFile,
} from '../../src/provider/provider.ts';

type Method = Exclude<keyof Provider, 'name'>;
type Fault = (arg: string) => void | Promise<void>;

/** A provider in memory that does as it is told: every batch runs until the test ends it. */
export class FakeProvider implements Provider {
  readonly name = 'fake';
  readonly files = new Map<string, Buffer>();
  readonly names = new Map<string, string>();
  readonly batches = new Map<string, ProviderBatch>();
  readonly calls: { method: Method; arg: string }[] = [];
  /** Called before a method does anything: throw in it, and nothing was done. */
  readonly before: Partial<Record<Method, Fault>> = {};
  /** Called when a method has done its work: throw in it, and the answer is lost. */
  readonly after: Partial<Record<Method, Fault>> = {};
  /** How many bytes of a file a download brings; all of them where it says nothing. */
  readonly cutAt = new Map<string, number>();
  /** Of each download, whether others waited for it. */
  readonly hurried: boolean[] = [];
  /** What the list shows besides, at the end of its first page. */
  unreadable: BatchPage['unreadable'] = [];
  isListEmpty = false;
  pageSize = 100;

  async check(): Promise<void> {
    await this.#call('check', '', () => {});
  }
  async uploadFile(filename: string, parts: Uint8Array[]): Promise<string> {
    return await this.#call('uploadFile', filename, () => this.addFile(Buffer.concat(parts), filename));
  }
  async createBatch(input: {
    inputFileId: string;
    metadata: Record<string, string>;
  }): Promise<ProviderBatch> {
    return await this.#call('createBatch', input.inputFileId, () => {
      const batch: ProviderBatch = {
        id: `batch_${this.batches.size + 1}`,
        status: 'in_progress',
        inputFileId: input.inputFileId,
        outputFileId: null,
        errorFileId: null,
        model: null,
        errors: [],
        counts: { total: 0, completed: 0, failed: 0 },
        usage: null,
        metadata: input.metadata,
        createdAt: new Date(),
      };
      this.batches.set(batch.id, batch);
      return { ...batch };
    });
  }
  async retrieveBatch(id: string): Promise<ProviderBatch> {
    return await this.#call('retrieveBatch', id, () => ({ ...this.#batch(id) }));
  }
  async cancelBatch(id: string): Promise<ProviderBatch> {
    return await this.#call('cancelBatch', id, () => {
      this.#batch(id).status = 'cancelling';
      return { ...this.#batch(id) };
    });
  }
  async *listBatches(): AsyncIterable<BatchPage> {
    const all = this.isListEmpty ? [] : [...this.batches.values()].reverse();
    for (let from = 0; from === 0 || from < all.length; from += this.pageSize) {
      await this.#call('listBatches', '', () => {});
      const batches = all.slice(from, from + this.pageSize).map((batch) => ({ ...batch }));
      yield { batches, unreadable: from === 0 ? this.unreadable : [] };
    }
  }
  async *listFiles(): AsyncIterable<ProviderFile[]> {
    await this.#call('listFiles', '', () => {});
    yield [...this.names].flatMap(([id, name]) => (this.files.has(id) ? [{ id, name }] : []));
  }
  async downloadFile(id: string, _signal?: AbortSignal, isHurried = false) {
    this.hurried.push(isHurried);
    return await this.#call('downloadFile', id, () => {
      const bytes = this.files.get(id);
      if (!bytes) throw providerError('rejected', { status: 404 });
      const sent = bytes.subarray(0, this.cutAt.get(id) ?? bytes.length);
      return { bytes: bytes.length, chunks: inChunks(sent) };
    });
  }
  async deleteFile(id: string): Promise<void> {
    await this.#call('deleteFile', id, () => {
      this.files.delete(id);
    });
  }

  async readWebhook(body: string): Promise<unknown> {
    return await this.#call('readWebhook', body, () => JSON.parse(body));
  }

  addFile(bytes: Buffer | string, name = ''): string {
    const id = `file_${randomBytes(6).toString('hex')}`;
    this.names.set(id, name);
    this.files.set(id, Buffer.from(bytes));
    return id;
  }
  /** The last batch, or the one of this id, takes a status; its files are the given texts. */
  end(
    status: string,
    result: { output?: string; error?: string; errors?: BatchError[]; id?: string } = {},
  ): ProviderBatch {
    const batch = this.#batch(result.id ?? [...this.batches.keys()].at(-1)!);
    batch.status = status;
    batch.outputFileId = result.output === undefined ? null : this.addFile(result.output);
    batch.errorFileId = result.error === undefined ? null : this.addFile(result.error);
    batch.errors = result.errors ?? [];
    return batch;
  }
  /** The ids of the last batch's requests, in the order of its file. */
  customIds(batchId = [...this.batches.keys()].at(-1)!): string[] {
    const text = this.files.get(this.#batch(batchId).inputFileId)!.toString();
    return text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).custom_id);
  }
  called(method: Method): string[] {
    return this.calls.filter((call) => call.method === method).map((call) => call.arg);
  }

  #batch(id: string): ProviderBatch {
    const batch = this.batches.get(id);
    if (!batch) throw providerError('rejected', { status: 404 });
    return batch;
  }
  async #call<Value>(method: Method, arg: string, work: () => Value): Promise<Value> {
    this.calls.push({ method, arg });
    await this.before[method]?.(arg);
    const value = work();
    await this.after[method]?.(arg);
    return value;
  }
}

export function providerError(
  kind: ProviderErrorKind,
  options: { status?: number; providerCode?: string } = {},
): ProviderError {
  return new ProviderError(`the provider is ${kind}`, { kind, ...options });
}

/** The line of an answered request, without its newline. */
export function answerLine(customId: string, summary: string): string {
  const message = { role: 'assistant', content: JSON.stringify({ summary }), refusal: null };
  const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
  const body = { object: 'chat.completion', choices: [{ index: 0, message, finish_reason: 'stop' }], usage };
  return JSON.stringify({
    custom_id: customId,
    response: { status_code: 200, request_id: 'r', body },
    error: null,
  });
}

/** The line of a request that the provider answered with a status of failure. */
export function failureLine(customId: string, status: number): string {
  const body = { error: { message: `it went wrong with ${status}`, type: 'server_error', code: null } };
  return JSON.stringify({
    custom_id: customId,
    response: { status_code: status, request_id: 'r', body },
    error: null,
  });
}

/** The line of a request that its batch did not come to. */
export function unexecutedLine(customId: string, code: 'batch_expired' | 'batch_cancelled'): string {
  return JSON.stringify({ custom_id: customId, response: null, error: { code, message: 'not executed' } });
}

export function jsonl(lines: string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

async function* inChunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}
