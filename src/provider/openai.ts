import OpenAI, { APIError } from 'openai';
import { ProviderError } from '../errors.ts';
import { asRecord, idOrNull, toProviderBatch } from './openai-batch.ts';
import { openAiError } from './openai-error.ts';
import { readOpenAiWebhook } from './openai-webhook.ts';
import type { CreateBatchInput, Provider, ProviderFile } from './provider.ts';

export type OpenAiOptions = {
  apiKey: string;
  /** What people see in logs and on pages; `openai` without it. */
  name?: string | undefined;
  /** Another server of the same shape; without it, OpenAI's own. */
  baseURL?: string | undefined;
  /** What OpenAI signs its webhooks with; without it, none is taken. */
  webhookSecret?: string | undefined;
  /** How long one call may take, 60 s without it; an upload gets ten times as long. */
  timeoutMs?: number | undefined;
  fetch?: typeof globalThis.fetch | undefined;
};

const pageSize = 100;

/**
 * Takes the key and where to call; returns the provider over the OpenAI SDK. Reading is retried twice by the SDK;
 * uploading, creating and cancelling are sent once. Every failure is a ProviderError.
 */
export function createOpenAiProvider(options: OpenAiOptions): Provider {
  const { apiKey, timeoutMs = 60_000 } = options;
  const client = new OpenAI({
    apiKey,
    // null, so that the SDK does not look into the environment by itself
    baseURL: options.baseURL ?? null,
    webhookSecret: null,
    timeout: timeoutMs,
    logLevel: 'off',
    ...(options.fetch ? { fetch: options.fetch } : {}),
  });

  async function call<T>(doing: string, send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      throw openAiError(error, doing, apiKey);
    }
  }

  return {
    name: options.name ?? 'openai',

    async check(signal) {
      // Not the list of models, which a key may read that may create no batch.
      await call('asking for a batch', () => getPage(client, '/batches', { limit: 1 }, null, signal));
    },

    uploadFile(filename, parts, signal) {
      return call('uploading a file', async () => {
        // The parts as they are: joining them first would hold the file twice.
        const file = new File(parts as ConstructorParameters<typeof File>[0], filename, {
          type: 'application/jsonl',
        });
        // A retry would leave a second copy of a file that arrived after all.
        const request = { signal, timeout: timeoutMs * 10, maxRetries: 0 };
        const uploaded = await client.files.create({ file, purpose: 'batch' }, request);
        const id = idOrNull(asRecord(uploaded).id);
        if (id === null) {
          throw new ProviderError('The provider answered an upload without a file id.', {
            kind: 'ambiguous',
          });
        }
        return id;
      });
    },

    createBatch(input: CreateBatchInput, signal) {
      return call('creating a batch', async () => {
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
      return call('retrieving a batch', async () =>
        toProviderBatch(await client.batches.retrieve(id, { signal })),
      );
    },

    cancelBatch(id, signal) {
      return call('cancelling a batch', async () => {
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
        call('listing batches', () => getPage(client, '/batches', { limit: pageSize }, after, signal)),
      );
      for await (const page of pages) yield page.map(toProviderBatch);
    },

    async *listFiles(signal) {
      const pages = listPages((after) =>
        call('listing files', () => getPage(client, '/files', { purpose: 'batch' }, after, signal)),
      );
      for await (const page of pages) yield* page.map(toProviderFile);
    },

    downloadFile(id, signal) {
      return call('downloading a file', async () => {
        const [response, bytes] = await Promise.all([
          client.files.content(id, { signal }),
          fileSize(client, id, signal),
        ]);
        return { bytes, chunks: readChunks(response?.body ?? null, apiKey) };
      });
    },

    async deleteFile(id, signal) {
      if (idOrNull(id) === null) return;
      await call('deleting a file', async () => {
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

type Page = { items: unknown[]; hasMore: boolean };

/**
 * Not the SDK's own paging: that takes an answer which is no list for the end of the list, and whoever searches here
 * would conclude that something does not exist.
 */
async function* listPages(get: (after: string | null) => Promise<Page>): AsyncGenerator<unknown[]> {
  let after: string | null = null;
  for (;;) {
    const page: Page = await get(after);
    yield page.items;
    const last = idOrNull(asRecord(page.items.at(-1)).id);
    if (!page.hasMore || last === null) return;
    if (last === after) {
      throw new ProviderError('The provider gave the same page of its list twice.', { kind: 'ambiguous' });
    }
    after = last;
  }
}

async function getPage(
  client: OpenAI,
  path: string,
  query: Record<string, unknown>,
  after: string | null,
  signal: AbortSignal | undefined,
): Promise<Page> {
  const given = after === null ? query : { ...query, after };
  const page = asRecord(await client.get(path, { query: given, signal }));
  if (!Array.isArray(page.data)) {
    throw new ProviderError('The provider answered with something that is not a list.', {
      kind: 'ambiguous',
    });
  }
  return { items: page.data, hasMore: page.has_more === true };
}

function toProviderFile(wire: unknown): ProviderFile {
  const file = asRecord(wire);
  return { id: idOrNull(file.id) ?? '', name: typeof file.filename === 'string' ? file.filename : '' };
}

/**
 * null where it cannot be told; zero as well, which some compatible servers say of every file. A look that fails on the
 * way rejects: without the size, a download that was cut short would pass for a file with lines missing.
 */
async function fileSize(client: OpenAI, id: string, signal: AbortSignal | undefined): Promise<number | null> {
  try {
    const { bytes } = await client.files.retrieve(id, { signal });
    return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : null;
  } catch (error) {
    // A server without this route; a file that is gone fails the download itself.
    if (error instanceof APIError && (error.status === 404 || error.status === 405)) return null;
    throw error;
  }
}

/** Wraps what breaks on the way; a caller that stops early lets go of the connection. */
async function* readChunks(
  body: ReadableStream<Uint8Array> | null,
  apiKey: string,
): AsyncGenerator<Uint8Array> {
  if (body === null) return;
  try {
    yield* body;
  } catch (error) {
    throw openAiError(error, 'downloading a file', apiKey);
  }
}
