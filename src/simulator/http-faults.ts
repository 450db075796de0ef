import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from './errors.ts';
import type { Faults, HttpFault, HttpRequest, Instead } from './faults.ts';
import { pause } from './pauses.ts';
import { routeNameOf } from './route-names.ts';

// What a request waits for between being read and having its effect. By request, since only uploads, which read
// their own bodies, have to ask.
const lateEffects = new WeakMap<FastifyRequest, () => Promise<void>>();

/** To be awaited once a request has been read in full, before it changes anything; rejects if it never shall. */
export async function beforeEffect(request: FastifyRequest): Promise<void> {
  await lateEffects.get(request)?.();
}

/** Lets requests go wrong as the faults say; adds nothing where they say nothing of requests. */
export function addRequestFaults(app: FastifyInstance, faults: Faults): void {
  const { beforeReply, afterHandling } = faults;
  if (beforeReply) strikeRequests(app, beforeReply);
  if (!afterHandling) return;
  app.addHook('onSend', async (request, reply, payload) => {
    const fault = await afterHandling(describe(request));
    if (!fault) return payload;
    discard(payload);
    reply.code(fault.status).type('application/json').removeHeader('content-length');
    return JSON.stringify(fault.toBody());
  });
}

/** Answers with what is sent instead, where anything is; null where the proper answer is due. */
export function sendInstead(reply: FastifyReply, instead: Instead | undefined): FastifyReply | null {
  if (instead === undefined) return null;
  if (instead === 'reset') {
    reply.hijack();
    disconnect(reply.request, 'reset');
    return reply;
  }
  const { status = 200, headers, body } = instead;
  return reply.code(status).headers(headers).send(body);
}

export function pathOf(url: string): string {
  return url.split('?', 1)[0]!;
}

function describe({ method, url, routeOptions }: FastifyRequest): HttpRequest {
  return { method, path: pathOf(url), route: routeNameOf(method, routeOptions.url) };
}

function strikeRequests(app: FastifyInstance, decide: NonNullable<Faults['beforeReply']>): void {
  const lostAnswers = new WeakMap<FastifyRequest, HttpFault>();
  const closing = new AbortController();
  app.addHook('preClose', async () => closing.abort());

  app.addHook('onRequest', async (request, reply) => {
    const fault = await decide(describe(request));
    if (fault === undefined) return;
    if (fault instanceof ApiError) throw fault;
    if (fault.effect === 'none') await loseRequest(request, reply, fault);
    else if (fault.effect === 'done') lostAnswers.set(request, fault);
    else lateEffects.set(request, () => goOnLater(request, fault, closing.signal));
  });

  app.addHook('preHandler', async (request) => {
    if (!request.isMultipart()) await beforeEffect(request);
  });

  app.addHook('onSend', async (request, reply, payload) => {
    const fault = lostAnswers.get(request);
    if (!fault) return payload;
    discard(payload);
    await hold(request, fault.ms);
    if (typeof fault.answer === 'string') {
      disconnect(request, fault.answer);
      return '';
    }
    reply.code(fault.answer.status).headers(fault.answer.headers);
    return fault.answer.body;
  });
}

async function loseRequest(request: FastifyRequest, reply: FastifyReply, fault: HttpFault): Promise<void> {
  const { answer, ms } = fault;
  if (typeof answer !== 'string') {
    await hold(request, ms);
    await reply.code(answer.status).headers(answer.headers).send(answer.body);
    return;
  }
  reply.hijack();
  // The client shall wait for the answer, not for its body to be taken.
  if (ms > 0) request.raw.resume();
  await hold(request, ms);
  disconnect(request, answer);
}

/** Resets the connection, and resolves when the effect is due. Who only reads has none. */
async function goOnLater(request: FastifyRequest, fault: HttpFault, closing: AbortSignal): Promise<void> {
  disconnect(request, 'reset');
  if (request.method !== 'GET') await pause(fault.ms, closing);
  if (request.method === 'GET' || closing.aborted) throw new ApiError(499, 'The client is gone.');
}

/** Waits with a request, no longer than its client does. */
async function hold(request: FastifyRequest, ms: number): Promise<void> {
  const { socket } = request.raw;
  if (ms <= 0 || socket.destroyed) return;
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  await pause(ms, gone.signal);
}

function disconnect(request: FastifyRequest, how: 'reset' | 'drop'): void {
  const { socket } = request.raw;
  if (how === 'reset') socket.resetAndDestroy();
  else socket.destroy();
}

/** Lets go of an answer that is never sent: of the file that it would be read from. */
function discard(payload: unknown): void {
  if (payload instanceof Readable) payload.destroy();
}
