import type { ProviderError } from '../errors.ts';
import { jsonExcess } from '../json-size.ts';
import { oneAtATime } from '../one-at-a-time.ts';

export type Fetch = typeof globalThis.fetch;
/** Ends the call for good; returns the error to throw. */
export type Refuse = (problem: string, status: number | null) => ProviderError;

const redirects = new Set([301, 302, 303, 307, 308]);
const mostHops = 3;
const mostBytes = 32_000_000;
const mostErrorBytes = 64_000;
// A page of the list may name some refused lines; a dozen of these may be read side by side.
const smallBytes = 4_000_000;
const largeAnswers = oneAtATime();
// A page of the list has a hundred batches with some fifty values each, and more where they name refused lines.
const jsonLimits = { maxDepth: 64, maxValues: 500_000 };

/**
 * A `fetch` for the SDK whose answers are bounded. They are read here, to the end, so that the signal of the call, and
 * with it its deadline, covers the body too: the SDK takes its own timeout off once the headers have come. Where
 * `keepsBody` is set, the body of an answer without an error is left for the caller to read.
 *
 * A redirect is followed by a GET alone, within its origin, and a few times: no file and no key goes where nobody
 * configured it to go, and nothing is created twice.
 */
export function boundedFetch(fetch: Fetch, refuse: Refuse, keepsBody: boolean): Fetch {
  return async (input, init = {}) => {
    let url = input instanceof Request ? input.url : String(input);
    for (let hops = 0; ; hops += 1) {
      const response = await fetch(url, { ...init, redirect: 'manual' });
      const location = redirects.has(response.status) ? response.headers.get('location') : null;
      if (location === null) return keepsBody && response.ok ? response : await readAnswer(response, refuse);
      void response.body?.cancel().catch(() => {});
      const target = URL.parse(location, url);
      const isRead = (init.method ?? 'GET') === 'GET' && !init.body;
      if (!isRead || target?.origin !== new URL(url).origin || hops === mostHops) {
        throw refuse(`redirected by status ${response.status} to ${originOf(target)}`, response.status);
      }
      url = target.href;
    }
  };
}

/** Without path and query, which may hold anything. */
function originOf(target: URL | null): string {
  return target === null ? 'an address that cannot be read' : target.origin.slice(0, 300);
}

/** What was read of an answer. The SDK asks for its text alone; a body to read it from would hold it three times. */
class ReadAnswer extends Response {
  override readonly text: () => Promise<string>;

  constructor(text: string, { status, headers }: Response) {
    super(null, { status, headers });
    this.text = () => Promise.resolve(text);
  }
}

async function readAnswer(response: Response, refuse: Refuse): Promise<Response> {
  const { status } = response;
  // There is no Response of such a status.
  if (status < 200 || status > 599) {
    void response.body?.cancel().catch(() => {});
    throw refuse(`answered with status ${status}`, status);
  }
  if (!response.ok) return new ReadAnswer(await errorText(response), response);
  // What says so itself need not be read first.
  if (Number(response.headers.get('content-length')) > mostBytes) {
    void response.body?.cancel().catch(() => {});
    throw refuse(`answered with more than ${mostBytes} bytes`, status);
  }
  const { text, isWhole } = await readText(response, mostBytes);
  if (!isWhole) throw refuse(`answered with more than ${mostBytes} bytes`, status);
  const excess = jsonExcess(text, jsonLimits);
  if (excess === 'depth')
    throw refuse(`answered with JSON that is nested more than ${jsonLimits.maxDepth} deep`, status);
  if (excess === 'values')
    throw refuse(`answered with JSON of more than ${jsonLimits.maxValues} values`, status);
  return new ReadAnswer(text, response);
}

/** As much of it as says what went wrong; the status counts, whatever the body is. */
async function errorText(response: Response): Promise<string> {
  const { text } = await readText(response, mostErrorBytes).catch(() => ({ text: '' }));
  return jsonExcess(text, jsonLimits) === null ? text : '';
}

/**
 * Bytes are counted as they come out of their content-encoding; what is beyond `most` is not asked for. Of large answers
 * one at a time is read: they would be tens of megabytes each.
 */
async function readText(response: Response, most: number): Promise<{ text: string; isWhole: boolean }> {
  const decoder = new TextDecoder();
  let text = '';
  let received = 0;
  let done: (() => void) | null = null;
  try {
    for await (const bytes of response.body ?? []) {
      received += bytes.length;
      if (received > most) return { text, isWhole: false };
      if (received > smallBytes) done ??= await largeAnswers.turn();
      text += decoder.decode(bytes, { stream: true });
    }
    return { text: text + decoder.decode(), isWhole: true };
  } finally {
    done?.();
  }
}
