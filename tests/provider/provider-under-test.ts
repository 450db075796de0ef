import { afterEach, expect } from 'vitest';
import { ProviderError } from '../../src/errors.ts';
import { createOpenAiProvider, type OpenAiOptions } from '../../src/provider/openai.ts';
import type { Provider } from '../../src/provider/provider.ts';
import { type FakeAnswer, type FakeServer, type SeenRequest, startFakeServer } from './fake-server.ts';

export const apiKey = 'sk-test-0123456789abcdef';

let server: FakeServer | undefined;
afterEach(closeServer);

export async function closeServer(): Promise<void> {
  await server?.close();
  server = undefined;
}

/** A provider against a server that answers so; the server closes with the test. */
export async function against(
  answer: FakeAnswer,
  options: Partial<OpenAiOptions> = {},
): Promise<{ provider: Provider; seen: SeenRequest[] }> {
  await closeServer();
  server = await startFakeServer(answer);
  const provider = createOpenAiProvider({ apiKey, timeoutMs: 5_000, baseURL: server.url, ...options });
  return { provider, seen: server.seen };
}

export async function failureOf(promise: Promise<unknown>): Promise<ProviderError> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ProviderError);
  return error as ProviderError;
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
