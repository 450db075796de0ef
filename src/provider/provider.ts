/**
 * What Rowmill needs of a batch provider. One file for each provider implements it; nothing outside this
 * folder knows an SDK.
 *
 * Every call may reject with a `ProviderError`, and with nothing else; nothing here retries `createBatch`, since a create
 * that timed out may have been executed (see docs/design/decisions.md). Every call ends, whatever the provider does: each
 * has a deadline and takes a bounded answer, and what comes of it is within the bounds of these types.
 */
export type BatchStatus =
  | 'validating'
  | 'failed'
  | 'in_progress'
  | 'finalizing'
  | 'completed'
  | 'expired'
  | 'cancelling'
  | 'cancelled';

export type BatchError = { code: string | null; message: string; line: number | null };

export type TokenUsage = { inputTokens: number; cachedTokens: number; outputTokens: number };

export type ProviderBatch = {
  id: string;
  /** The provider's word for it, kept as it came: unknown words are not an error. */
  status: BatchStatus | (string & {});
  inputFileId: string;
  outputFileId: string | null;
  errorFileId: string | null;
  model: string | null;
  errors: BatchError[];
  counts: { total: number; completed: number; failed: number };
  usage: TokenUsage | null;
  metadata: Record<string, string>;
  createdAt: Date;
};

/** A page of the list. `unreadable`: entries that exist and cannot be used, with our key where they have one. */
export type BatchPage = {
  batches: ProviderBatch[];
  unreadable: { key: string | null; problem: string }[];
};

export type ProviderFile = { id: string; name: string };

export type CreateBatchInput = {
  inputFileId: string;
  endpoint: string;
  /** At most 16 pairs; keys up to 64, values up to 512 characters. */
  metadata: Record<string, string>;
};

export type WebhookHeaders = Record<string, string | string[] | undefined>;

export type Provider = {
  readonly name: string;
  /** Asks for next to nothing: resolves where the provider answers and takes the key for batches. */
  check(signal?: AbortSignal): Promise<void>;
  /** Uploads a JSONL file from memory and returns its id. Sent once: a second copy would be nobody's. */
  uploadFile(filename: string, parts: Uint8Array[], signal?: AbortSignal): Promise<string>;
  createBatch(input: CreateBatchInput, signal?: AbortSignal): Promise<ProviderBatch>;
  retrieveBatch(id: string, signal?: AbortSignal): Promise<ProviderBatch>;
  cancelBatch(id: string, signal?: AbortSignal): Promise<ProviderBatch>;
  /** Page after page, as many calls, until the caller stops: the provider may never say that it was the last. In no order that anybody promises. */
  listBatches(signal?: AbortSignal): AsyncIterable<BatchPage>;
  /** Uploaded files, page after page, like that. */
  listFiles(signal?: AbortSignal): AsyncIterable<ProviderFile[]>;
  /**
   * The file's bytes as they arrive, and how many the provider says there are (null: it does not say). A file that is gone
   * rejects with status 404; one that stops arriving, or is longer than it says, ends with an ambiguous error. Hurried, it is
   * given up four times as soon: others wait, and it can be read another time.
   */
  downloadFile(
    id: string,
    signal?: AbortSignal,
    isHurried?: boolean,
  ): Promise<{ bytes: number | null; chunks: AsyncIterable<Uint8Array> }>;
  /** Resolves as well where the file is gone already. */
  deleteFile(id: string, signal?: AbortSignal): Promise<void>;
  /**
   * The event of a webhook that the provider signed, as it was sent: nobody has looked at its form yet. Asks nobody.
   * Rejects with a RowmillError: `no_secret`, `bad_signature` (an old one, too), or `invalid_json`.
   */
  readWebhook(body: string, headers: WebhookHeaders): Promise<unknown>;
};
