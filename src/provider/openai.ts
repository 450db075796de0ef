import OpenAI, { APIError } from 'openai';
import { ProviderError } from '../errors.ts';
import { createCalls } from './bounded-call.ts';
import { type LeastRate, leastRate, readChunks } from './download.ts';
import { getPage, listPages } from './list-pages.ts';
import { asRecord, idOrNull, toBatchPage, toFilePage, toProviderBatch } from './openai-batch.ts';
import { readOpenAiWebhook } from './openai-webhook.ts';
import type { CreateBatchInput, Provider } from './provider.ts';

export type OpenAiOptions = {
  apiKey: string;
  /** What people see in logs and on pages; `openai` without it. */
  name?: string | undefined;
  /** Another server of the same shape; without it, OpenAI's own. */
  baseURL?: string | undefined;
  /** What OpenAI signs its webhooks with; without it, none is taken. */
  webhookSecret?: string | undefined;
  /**
   * How long one call may take, 60 s without it: headers, body and repetitions together. An upload gets a second more for
   * each 100 kB, and a download as long as it keeps its least rate.
   */
  timeoutMs?: number | undefined;
  /** What a download has to bring, 40 kB in 20 s without it. */
  leastRate?: LeastRate | undefined;
  fetch?: typeof globalThis.fetch | undefined;
};

const pageSize = 100;
const uploadBytesPerMs = 100;
const hurry = 4;

/**
 * Takes the key and where to call; returns the provider over the OpenAI SDK. Reading is retried twice by the SDK, within
 * the call's time; uploading, creating and cancelling are sent once. Every failure is a ProviderError.
 */
export function createOpenAiProvider(options: OpenAiOptions): Provider {
  const { apiKey, timeoutMs = 60_000, leastRate: rate = leastRate, fetch = globalThis.fetch } = options;
  const client = new OpenAI({
    apiKey,
    // null, so that the SDK does not look into the environment by itself
    baseURL: options.baseURL ?? null,
    webhookSecret: null,
    logLevel: 'off',
  });
  const call = createCalls(client, { apiKey, timeoutMs, fetch });

  return {
    name: options.name ?? 'openai',

    async check(signal) {
      // Not the list of models, which a key may read that may create no batch.
      await call('asking for a batch', { signal }, (client, signal) =>
        getPage(client, '/batches', { limit: 1 }, null, signal),
      );
    },

    uploadFile(filename, parts, signal) {
      return call(
        'uploading a file',
        { signal, timeoutMs: timeoutMs + uploadMs(parts) },
        async (client, signal) => {
          // The parts as they are: joining them first would hold the file twice.
          const file = new File(parts as ConstructorParameters<typeof File>[0], filename, {
            type: 'application/jsonl',
          });
          // A retry would leave a second copy of a file that arrived after all.
          const uploaded = await client.files.create({ file, purpose: 'batch' }, { signal, maxRetries: 0 });
          const id = idOrNull(asRecord(uploaded).id);
          if (id === null) {
            throw new ProviderError('The provider answered an upload without a file id.', {
              kind: 'ambiguous',
            });
          }
          return id;
        },
      );
    },

    createBatch(input: CreateBatchInput, signal) {
      return call('creating a batch', { signal }, async (client, signal) => {
        const body = {
          input_file_id: input.inputFileId,
          endpoint: input.endpoint as OpenAI.BatchCreateParams['endpoint'],
          completion_window: '24h' as const,
          metadata: input.metadata,
        };
        // The SDK's retries carry no idempotency key: a second send is a second batch.
        return toProviderBatch(await client.batches.create(body, { signal, maxRetries: 0 }));
      });
    },

    retrieveBatch(id, signal) {
      return call('retrieving a batch', { signal }, async (client, signal) =>
        toProviderBatch(await client.batches.retrieve(id, { signal })),
      );
    },

    cancelBatch(id, signal) {
      return call('cancelling a batch', { signal }, async (client, signal) => {
        try {
          return toProviderBatch(await client.batches.cancel(id, { signal, maxRetries: 0 }));
        } catch (error) {
          // It is over already, which is what a cancel is for.
          if (!(error instanceof APIError) || error.status !== 409) throw error;
          return toProviderBatch(await client.batches.retrieve(id, { signal }));
        }
      });
    },

    async *listBatches(signal) {
      const pages = listPages((after) =>
        call('listing batches', { signal }, (client, signal) =>
          getPage(client, '/batches', { limit: pageSize }, after, signal),
        ),
      );
      for await (const items of pages) yield toBatchPage(items);
    },

    async *listFiles(signal) {
      const pages = listPages((after) =>
        call('listing files', { signal }, (client, signal) =>
          getPage(client, '/files', { purpose: 'batch' }, after, signal),
        ),
      );
      for await (const items of pages) yield toFilePage(items);
    },

    async downloadFile(id, signal, isHurried = false) {
      const doing = 'downloading a file';
      const part = isHurried ? 1 / hurry : 1;
      const start = { signal, timeoutMs: timeoutMs * part };
      // Before the file: one whose size cannot be learnt is not begun.
      const bytes = await call(doing, start, (client, signal) => fileSize(client, id, signal));
      const { body } = await call(doing, { ...start, keepsBody: true }, (client, signal) =>
        client.files.content(id, { signal }),
      );
      return { bytes, chunks: readChunks(body, { apiKey, rate: inWindow(rate, part), bytes }) };
    },

    async deleteFile(id, signal) {
      if (idOrNull(id) === null) return;
      await call('deleting a file', { signal }, async (client, signal) => {
        try {
          await client.files.delete(id, { signal });
        } catch (error) {
          if (!(error instanceof APIError) || error.status !== 404) throw error;
        }
      });
    },

    readWebhook: (body, headers) => readOpenAiWebhook(client, options.webhookSecret, body, headers),
  };
}

/**
 * null where it cannot be told; zero as well, which some compatible servers say of every file. A look that fails on the
 * way rejects: without the size, a download that was cut short would pass for a file with lines missing.
 */
async function fileSize(client: OpenAI, id: string, signal: AbortSignal): Promise<number | null> {
  try {
    const { bytes } = await client.files.retrieve(id, { signal });
    return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : null;
  } catch (error) {
    // A server without this route; a file that is gone fails the download itself.
    if (error instanceof APIError && (error.status === 404 || error.status === 405)) return null;
    throw error;
  }
}

/** The same rate, looked at more often or less. */
function inWindow({ bytes, windowMs }: LeastRate, part: number): LeastRate {
  return { bytes: bytes * part, windowMs: windowMs * part };
}

/** What an upload may take beyond other calls: a small file that does not get through must not hold its place for long. */
function uploadMs(parts: Uint8Array[]): number {
  return parts.reduce((bytes, part) => bytes + part.length, 0) / uploadBytesPerMs;
}
