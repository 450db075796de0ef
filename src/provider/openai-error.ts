import { inspect } from 'node:util';
import { APIError } from 'openai';
import { messageOf, ProviderError } from '../errors.ts';
import { boundedText } from './bounded-text.ts';
import { failureKind } from './failure-kind.ts';

const mostQuoted = 500;

/**
 * Takes whatever a call of the SDK rejected with, what was being done, and the API key; returns a
 * ProviderError. The key appears nowhere in it, even where the provider, a proxy or fetch quotes it; what it quotes is
 * bounded.
 */
export function openAiError(error: unknown, doing: string, apiKey: string): ProviderError {
  if (error instanceof ProviderError) return error;
  const status = error instanceof APIError ? (error.status ?? null) : null;
  const providerCode = error instanceof APIError ? textOrNull(error.code, 100) : null;
  const requestId = error instanceof APIError ? textOrNull(error.requestID, 200) : null;
  const causeCode = status === null ? deepestCode(error) : null;
  // The key before the bound, which might leave a part of it.
  const message = boundedText(withoutKey(messageOf(error), apiKey), mostQuoted);
  const detail = causeCode === null || message.includes(causeCode) ? message : `${message} (${causeCode})`;
  return new ProviderError(`${doing}: ${detail}`, {
    kind: failureKind({ status, code: providerCode, causeCode }),
    status,
    providerCode,
    requestId,
    fields: { causeCode },
    // An answer's error says everything above, and its headers belong in no log.
    cause: status === null && !inspect(error, { depth: 8 }).includes(apiKey.trim()) ? error : undefined,
  });
}

function withoutKey(text: string, apiKey: string): string {
  const key = apiKey.trim();
  return key === '' ? text : text.replaceAll(key, '***');
}

function textOrNull(value: unknown, most: number): string | null {
  return typeof value === 'string' && value !== '' ? boundedText(value, most) : null;
}

/** fetch says "fetch failed" and keeps the reason in a chain of causes; the last code is the system's. */
function deepestCode(error: unknown): string | null {
  let found: string | null = null;
  let current: unknown = error;
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    if ('code' in current) found = textOrNull(current.code, 100) ?? found;
    current = current.cause;
  }
  return found;
}
