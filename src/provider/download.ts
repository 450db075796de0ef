import { ProviderError } from '../errors.ts';
import { openAiError } from './openai-error.ts';

/** At least so many bytes in so much time spent waiting for them. */
export type LeastRate = { bytes: number; windowMs: number };

export const leastRate: LeastRate = { bytes: 40_000, windowMs: 20_000 };

const slicesOfWindow = 4;
// Where the provider does not say how long a file is: fifty thousand answers of 80 kB.
const mostBytes = 4_000_000_000;

/**
 * The bytes of a file as they come. Ends with an ambiguous ProviderError where they come too slowly, where there are more
 * than the provider said, and where the connection breaks. What counts is the time that is spent waiting for the
 * network: a reader may take as long as it likes. A caller that stops early lets go of the connection.
 */
export async function* readChunks(
  body: ReadableStream<Uint8Array> | null,
  about: { apiKey: string; rate: LeastRate; bytes: number | null },
): AsyncGenerator<Uint8Array> {
  if (body === null) return;
  const most = about.bytes ?? mostBytes;
  const reader = body.getReader();
  const wait = createWaiting(about.rate);
  let received = 0;
  try {
    for (;;) {
      const { done, value } = await wait(reader.read());
      if (done) return;
      received += value.length;
      if (received > most) throw failure(`the file has more than ${most} bytes`);
      yield value;
    }
  } catch (error) {
    throw openAiError(error, 'downloading a file', about.apiKey);
  } finally {
    reader.cancel().catch(() => {});
  }
}

type Read = Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']>>;

/** Waits for one read after the other, and rejects once a window of waiting brought too little. */
function createWaiting({ bytes, windowMs }: LeastRate): (read: Promise<Read>) => Promise<Read> {
  const sliceMs = windowMs / slicesOfWindow;
  let waitedMs = 0;
  let received = 0;

  function waited(ms: number): void {
    // However late a timer rings: a process that was busy itself must not blame the provider.
    waitedMs += Math.min(ms, sliceMs);
    if (waitedMs < windowMs) return;
    if (received < bytes) throw failure(`the provider sends ${received} bytes in ${windowMs / 1000} s`);
    waitedMs = 0;
    received = 0;
  }

  return async (read) => {
    for (;;) {
      const sinceMs = performance.now();
      const got = await within(read, sliceMs);
      if (got !== null) received += got.value?.length ?? 0;
      // The last of a slow file is no reason to read it again.
      if (got?.done) return got;
      waited(got === null ? sliceMs : performance.now() - sinceMs);
      if (got !== null) return got;
    }
  };
}

/** null where it is not there in time. */
async function within(read: Promise<Read>, ms: number): Promise<Read | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(() => resolve(null), ms);
  try {
    return await Promise.race([read, promise]);
  } finally {
    clearTimeout(timer);
  }
}

function failure(problem: string): ProviderError {
  return new ProviderError(`downloading a file: ${problem}`, { kind: 'ambiguous', isUnusable: true });
}
