import { type Endpoint, type Json, type ReadRequest, readableRequest } from './request.ts';

/** What is paid for a request and its answer. The cached ones are among the input. */
export type Tokens = { inputTokens: number; cachedTokens: number; outputTokens: number };

export const noTokens: Tokens = { inputTokens: 0, cachedTokens: 0, outputTokens: 0 };

/** Some four characters make a token; the schema counts, being shown to the model. */
export function inputTokensOf({ prompt, schemaText }: ReadRequest): number {
  return 8 + tokensIn(prompt.length + (schemaText?.length ?? 0));
}

/** What a request adds to the enqueued tokens: its input, and nothing where it will be refused unread. */
export function enqueuedTokensOf(endpoint: Endpoint, body: Json): number {
  const request = readableRequest(endpoint, body);
  return request === null ? 0 : inputTokensOf(request);
}

/** The tokens of a text of so many UTF-16 units. */
export function tokensIn(units: number): number {
  return Math.ceil(units / 4);
}
