import { messageOf, ProviderError } from '../errors.ts';
import { boundedText } from './bounded-text.ts';
import type { BatchError, BatchPage, ProviderBatch, ProviderFile, TokenUsage } from './provider.ts';

// What no provider says, and what the tables take: integers of four bytes, sums of a million batches in eight.
const mostRequests = 2_147_483_647;
const mostTokens = 1e15;
const mostErrors = 1000;
const mostErrorText = 100_000;
const mostPairs = 16;
const firstBatchMs = Date.UTC(2020, 0);
const dayMs = 86_400_000;

/**
 * Takes a batch object off the wire, whatever is missing or absurd in it; returns it in our words, each part within its
 * bounds. `""`, null and missing file ids are one thing, and so are missing and zero counts.
 *
 * Raises an ambiguous ProviderError, and nothing else, where an id cannot be read: an answer with status 200 that says
 * nothing (a proxy's page, an empty body) proves neither that a batch exists nor that it does not, and a result file
 * whose id is lost must not pass for one that was never written.
 *
 * Written by hand: a schema (zod) refuses an object for one odd part of it, or takes an exception for each part.
 */
export function toProviderBatch(wire: unknown): ProviderBatch {
  const batch = asRecord(wire);
  const id = idOrNull(batch.id);
  if (id === null) throw unreadable('The provider answered with something that is not a batch.');
  const counts = asRecord(batch.request_counts);
  return {
    id,
    status: textOrNull(batch.status, 100) ?? 'unknown',
    inputFileId: idOrNull(batch.input_file_id) ?? '',
    outputFileId: fileIdOrNull(batch.output_file_id),
    errorFileId: fileIdOrNull(batch.error_file_id),
    model: textOrNull(batch.model, 256),
    errors: toErrors(asRecord(batch.errors).data),
    counts: {
      total: toCount(counts.total, mostRequests),
      completed: toCount(counts.completed, mostRequests),
      failed: toCount(counts.failed, mostRequests),
    },
    usage: toUsage(batch.usage),
    metadata: toMetadata(batch.metadata),
    createdAt: toDate(batch.created_at),
  };
}

/** Takes the entries of a page; an entry that cannot be read is its own failure alone. */
export function toBatchPage(items: unknown[]): BatchPage {
  const page: BatchPage = { batches: [], unreadable: [] };
  for (const item of items) {
    try {
      page.batches.push(toProviderBatch(item));
    } catch (error) {
      const key = toMetadata(asRecord(item).metadata).rowmill_key ?? null;
      page.unreadable.push({ key, problem: messageOf(error) });
    }
  }
  return page;
}

/** Takes the entries of a page of files; leaves out what cannot be read. */
export function toFilePage(items: unknown[]): ProviderFile[] {
  return items.flatMap((item) => {
    const file = asRecord(item);
    const id = idOrNull(file.id);
    return id === null ? [] : [{ id, name: textOrNull(file.filename, 512) ?? '' }];
  });
}

/**
 * Takes an id off the wire; returns null where there is none, or none that may stand in a URL, an index and a log: 1 to
 * 256 printable characters.
 */
export function idOrNull(value: unknown): string | null {
  return typeof value === 'string' && /^(?=.*[0-9A-Za-z])[!-~]{1,256}$/.test(value) ? value : null;
}

export function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function fileIdOrNull(value: unknown): string | null {
  if (value === undefined || value === null || value === '') return null;
  const id = idOrNull(value);
  if (id === null) throw unreadable('The provider names a result file by an id that cannot be read.');
  return id;
}

function textOrNull(value: unknown, most: number): string | null {
  return typeof value === 'string' && value !== '' ? boundedText(value, most) : null;
}

function toCount(value: unknown, most: number): number {
  return typeof value === 'number' && value > 0 ? Math.trunc(Math.min(value, most)) : 0;
}

function toErrors(data: unknown): BatchError[] {
  if (!Array.isArray(data)) return [];
  const errors: BatchError[] = [];
  let length = 0;
  for (const item of data.slice(0, mostErrors)) {
    const { code, message, line } = asRecord(item);
    const error = {
      code: textOrNull(code, 100),
      message: textOrNull(message, 500) ?? '',
      line: Number.isSafeInteger(line) && (line as number) > 0 ? (line as number) : null,
    };
    length += error.message.length;
    if (length > mostErrorText) break;
    errors.push(error);
  }
  return errors;
}

/** Zero-filled from creation on, and absent on old batches: both mean "not told yet". */
function toUsage(wire: unknown): TokenUsage | null {
  const usage = asRecord(wire);
  const inputTokens = toCount(usage.input_tokens, mostTokens);
  const outputTokens = toCount(usage.output_tokens, mostTokens);
  const cachedTokens = toCount(asRecord(usage.input_tokens_details).cached_tokens, mostTokens);
  if (inputTokens === 0 && outputTokens === 0 && cachedTokens === 0) return null;
  return { inputTokens, cachedTokens, outputTokens };
}

/** Texts alone, as they are: a key that is cut short would be another one. Ours is kept however many there are. */
function toMetadata(wire: unknown): Record<string, string> {
  const pairs = Object.entries(asRecord(wire)).filter((pair): pair is [string, string] => {
    const [name, value] = pair;
    return typeof value === 'string' && name.length <= 64 && value.length <= 512;
  });
  const kept = pairs.filter(([name], at) => at < mostPairs || name === 'rowmill_key');
  return Object.fromEntries(kept);
}

/** A batch of unknown age counts as new, so that a search for recent ones never skips it. */
function toDate(seconds: unknown): Date {
  const now = Date.now();
  const ms = typeof seconds === 'number' ? seconds * 1000 : Number.NaN;
  return new Date(ms >= firstBatchMs && ms <= now + dayMs ? ms : now);
}

function unreadable(message: string): ProviderError {
  return new ProviderError(message, { kind: 'ambiguous' });
}
