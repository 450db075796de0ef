import http from 'node:http';
import https from 'node:https';

export type QueuedRequest = {
  id: number;
  method: string;
  url: string;
  headers: Record<string, string> | null;
  body: Buffer | null;
  timeout_milliseconds: number;
};

/** A row of `net._http_response`, without its id and time. */
export type KeptAnswer = {
  status_code: number | null;
  content_type: string | null;
  headers: Record<string, string> | null;
  content: string | null;
  timed_out: boolean;
  error_msg: string | null;
};

// From here on curl asks whether a body is welcome before it sends it, and waits a second for the answer.
const askFirstBytes = 1024 * 1024;
const askPatienceMs = 1000;
const maxRedirects = 30;

/** What libcurl calls a failure; the system's word for whatever else there is. */
const words: Record<string, string> = {
  ECONNREFUSED: "Couldn't connect to server",
  EHOSTUNREACH: "Couldn't connect to server",
  ENOTFOUND: "Couldn't resolve host name",
  EAI_AGAIN: "Couldn't resolve host name",
  ECONNRESET: 'Server returned nothing (no headers, no data)',
  EPIPE: 'Failed sending data to the peer',
  ERR_INVALID_PROTOCOL: 'Unsupported protocol',
  ERR_INVALID_URL: 'URL using bad/illegal format or missing URL',
};

/** Makes a request as pg_net's worker does: once, within its time, redirects followed. Resolves whatever becomes of it. */
export async function send(request: QueuedRequest): Promise<KeptAnswer> {
  const from = performance.now();
  const deadline = AbortSignal.timeout(request.timeout_milliseconds);
  try {
    return await follow(request, deadline, 0);
  } catch (error) {
    const isLate = deadline.aborted;
    return {
      ...{ status_code: null, content_type: null, headers: null, content: null, timed_out: isLate },
      error_msg: isLate
        ? late(request.timeout_milliseconds, performance.now() - from)
        : wordFor(error as { code?: string; message: string }),
    };
  }
}

async function follow(request: QueuedRequest, signal: AbortSignal, redirects: number): Promise<KeptAnswer> {
  const { answer, location } = await ask(request, signal);
  if (location === null) return answer;
  if (redirects === maxRedirects) throw new Error('Number of redirects hit maximum amount');
  const method = answer.status_code === 307 || answer.status_code === 308 ? request.method : 'GET';
  const body = method === 'GET' ? null : request.body;
  const next = { ...request, method, body, url: new URL(location, request.url).href };
  return await follow(next, signal, redirects + 1);
}

function ask(
  request: QueuedRequest,
  signal: AbortSignal,
): Promise<{ answer: KeptAnswer; location: string | null }> {
  return new Promise((resolve, reject) => {
    const url = new URL(request.url);
    const asksFirst = (request.body?.length ?? 0) > askFirstBytes;
    const headers = { ...request.headers, 'User-Agent': 'pg_net/0.20' };
    const { request: open } = url.protocol === 'https:' ? https : http;
    const outgoing = open(url, {
      method: request.method.toUpperCase(),
      headers: {
        ...headers,
        ...(request.body ? { 'Content-Length': request.body.length } : {}),
        ...(asksFirst ? { Expect: '100-continue' } : {}),
      },
      signal,
      agent: false,
    });
    outgoing.on('error', reject);
    outgoing.on('response', async (response) => {
      try {
        const parts: Buffer[] = [];
        for await (const part of response) parts.push(part as Buffer);
        const status = response.statusCode ?? 0;
        const isRedirect = status >= 300 && status < 400 && response.headers.location !== undefined;
        resolve({
          answer: {
            status_code: status,
            content_type: response.headers['content-type'] ?? null,
            headers: pairs(response.rawHeaders),
            content: Buffer.concat(parts).toString() || null,
            timed_out: false,
            error_msg: null,
          },
          location: isRedirect ? response.headers.location! : null,
        });
      } catch (error) {
        reject(error);
      }
    });
    if (!asksFirst) {
      outgoing.end(request.body ?? undefined);
      return;
    }
    const goOn = () => {
      clearTimeout(timer);
      if (!outgoing.writableEnded) outgoing.end(request.body);
    };
    const timer = setTimeout(goOn, askPatienceMs);
    outgoing.on('continue', goOn);
    outgoing.on('close', () => clearTimeout(timer));
    outgoing.flushHeaders();
  });
}

function pairs(raw: string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (let at = 0; at < raw.length; at += 2) found[raw[at]!] = raw[at + 1]!;
  return found;
}

function late(timeoutMs: number, tookMs: number): string {
  const ms = tookMs.toFixed(6);
  return `Timeout of ${timeoutMs} ms reached. Total time: ${ms} ms (DNS time: 0.000000 ms, TCP/SSL handshake time: 0.000000 ms, HTTP Request/Response time: ${ms} ms)`;
}

function wordFor(error: { code?: string; message: string }): string {
  return (error.code !== undefined && words[error.code]) || error.message;
}
