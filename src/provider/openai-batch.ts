import { ProviderError } from '../errors.ts';
import type { BatchError, ProviderBatch, TokenUsage } from './provider.ts';

/**
 * Takes a batch object off the wire, whatever is missing in it; returns it in our words. `""`, null and
 * missing file ids are one thing, and so are missing and zero counts.
 * Raises an ambiguous ProviderError where it is no batch at all: an answer with status 200 that says
 * nothing (a proxy's page, an empty body) proves neither that a batch exists nor that it does not.
 */
export function toProviderBatch(wire: unknown): ProviderBatch {
  const batch = asRecord(wire);
  const id = idOrNull(batch.id);
  if (id === null) {
    throw new ProviderError('The provider answered with something that is not a batch.', {
      kind: 'ambiguous',
    });
  }
  const counts = asRecord(batch.request_counts);
  return {
    id,
    status: typeof batch.status === 'string' ? batch.status : 'unknown',
    inputFileId: idOrNull(batch.input_file_id) ?? '',
    outputFileId: idOrNull(batch.output_file_id),
    errorFileId: idOrNull(batch.error_file_id),
    model: idOrNull(batch.model),
    errors: toErrors(asRecord(batch.errors).data),
    counts: {
      total: toCount(counts.total),
      completed: toCount(counts.completed),
      failed: toCount(counts.failed),
    },
    usage: toUsage(batch.usage),
    metadata: toMetadata(batch.metadata),
    // A batch of unknown age counts as new, so that a search for recent ones never skips it.
    createdAt: typeof batch.created_at === 'number' ? new Date(batch.created_at * 1000) : new Date(),
  };
}

/** Takes an id off the wire; returns null for each way of saying that there is none. */
export function idOrNull(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

export function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function toCount(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.trunc(value) : 0;
}

function toErrors(data: unknown): BatchError[] {
  if (!Array.isArray(data)) return [];
  return data.map((item) => {
    const error = asRecord(item);
    return {
      code: idOrNull(error.code),
      message: typeof error.message === 'string' ? error.message : '',
      line: typeof error.line === 'number' ? error.line : null,
    };
  });
}

/** Zero-filled from creation on, and absent on old batches: both mean "not told yet". */
function toUsage(wire: unknown): TokenUsage | null {
  const usage = asRecord(wire);
  const inputTokens = toCount(usage.input_tokens);
  const outputTokens = toCount(usage.output_tokens);
  const cachedTokens = toCount(asRecord(usage.input_tokens_details).cached_tokens);
  if (inputTokens === 0 && outputTokens === 0 && cachedTokens === 0) return null;
  return { inputTokens, cachedTokens, outputTokens };
}

function toMetadata(wire: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(asRecord(wire)).map(([key, value]) => [key, String(value)]));
}
