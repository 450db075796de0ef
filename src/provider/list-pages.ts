import type OpenAI from 'openai';
import { ProviderError } from '../errors.ts';
import { asRecord, idOrNull } from './openai-batch.ts';

export type Page = { items: unknown[]; hasMore: boolean };

/**
 * Not the SDK's own paging: that takes an answer which is no list for the end of the list, and a search
 * would conclude that something does not exist. Paging goes on behind the last entry whose id can be read; how many
 * pages are read is the caller's business.
 */
export async function* listPages(get: (after: string | null) => Promise<Page>): AsyncGenerator<unknown[]> {
  let after: string | null = null;
  for (;;) {
    const { items, hasMore }: Page = await get(after);
    yield items;
    if (!hasMore || items.length === 0) return;
    const last = lastId(items);
    if (last === null) throw unusable('gave a page of its list in which no id can be read');
    if (last === after) throw unusable('gave the same page of its list twice');
    after = last;
  }
}

export async function getPage(
  client: OpenAI,
  path: string,
  query: Record<string, unknown>,
  after: string | null,
  signal: AbortSignal,
): Promise<Page> {
  const given = after === null ? query : { ...query, after };
  const page = asRecord(await client.get(path, { query: given, signal }));
  if (!Array.isArray(page.data)) throw unusable('answered with something that is not a list');
  return { items: page.data, hasMore: page.has_more === true };
}

function lastId(items: unknown[]): string | null {
  for (const item of items.toReversed()) {
    const id = idOrNull(asRecord(item).id);
    if (id !== null) return id;
  }
  return null;
}

function unusable(what: string): ProviderError {
  return new ProviderError(`The provider ${what}.`, { kind: 'ambiguous' });
}
