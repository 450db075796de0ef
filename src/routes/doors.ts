import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { toErrorBody } from './error-body.ts';

export type DoorLimits = {
  /** For a whole request to be here. 16 MB come in that time over 5 Mbit/s; pg_net gives up earlier. */
  requestMs: number;
  /** For its headers, which are one packet. */
  headersMs: number;
  /** How often these two are looked at: a request may take that much longer. */
  checkMs: number;
  /** For an answer that nobody reads, and for a handler; the database's own limit is 50 s. */
  silentMs: number;
  /** Longer than load balancers keep an idle connection (60 s): else they use one that has just been closed. */
  keepAliveMs: number;
  /** After an answer that came before the end of its body, for the caller to read it. */
  lingerMs: number;
  /** For requests under way when the worker stops; the service gives 7 s to all that is in hand. */
  closeMs: number;
  /** Beyond so many, the connection that is idle the longest is cut for a new one. Each takes some 100 kB at most. */
  connections: number;
};

export const defaultDoorLimits: DoorLimits = {
  requestMs: 30_000,
  headersMs: 10_000,
  checkMs: 1000,
  silentMs: 90_000,
  keepAliveMs: 72_000,
  lingerMs: 1000,
  closeMs: 4000,
  connections: 400,
};

/** Callers that have proved who they are; what the bound on connections lets alone meanwhile. */
const known = new WeakSet<Socket>();
const ending = new WeakSet<Socket>();

/** What Fastify makes its servers with; it may make several, one for each address. */
export function createDoor(listener: RequestListener, limits: DoorLimits): Server {
  const open = new WeakSet<Socket>();
  const server = createServer(
    {
      requestTimeout: limits.requestMs,
      headersTimeout: limits.headersMs,
      connectionsCheckingInterval: limits.checkMs,
      keepAliveTimeout: limits.keepAliveMs,
    },
    (request, response) => {
      const { socket } = request;
      // Requests behind one that is not answered yet would be worked on all at once, and their answers pile up.
      if (open.has(socket) || ending.has(socket)) {
        socket.destroy();
        return;
      }
      open.add(socket);
      response.once('close', () => open.delete(socket));
      listener(request, response);
    },
  );
  server.setTimeout(limits.silentMs);
  // Signed posts alone can fill this up.
  server.maxConnections = limits.connections * 2;

  // In the order in which they came.
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    if (sockets.size <= limits.connections) return;
    for (const oldest of sockets) {
      if (known.has(oldest)) continue;
      sockets.delete(oldest);
      oldest.destroy();
      break;
    }
  });
  return server;
}

/** Lets the connection of a request that is signed live until it is answered. */
export function keepConnection(request: FastifyRequest, reply: FastifyReply): void {
  const { socket } = request.raw;
  known.add(socket);
  reply.raw.once('close', () => known.delete(socket));
}

/** Hooks of the root: how connections end whose requests are not read to their end, and how all of them do. */
export function guardDoors(app: FastifyInstance, limits: DoorLimits): void {
  app.addHook('onSend', async (request, reply) => closeEarly(request, reply, limits));
  app.addHook('preClose', async () => {
    setTimeout(() => app.server.closeAllConnections(), limits.closeMs).unref();
  });
}

/** Ends the connection where the answer comes before the end of the request. */
function closeEarly(request: FastifyRequest, reply: FastifyReply, { lingerMs }: DoorLimits): void {
  if (!isComingStill(request.raw)) return;
  reply.header('connection', 'close');
  endSoftly(request.raw, lingerMs);
}

function isComingStill(request: IncomingMessage): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  return (encoding !== undefined || Number(length ?? 0) > 0) && request.complete === false;
}

/**
 * Has the rest of a request not read. A socket that is closed over unread bytes is reset, and the answer may be lost
 * with it; so the caller, who may be sending still, sees the end of the answer first, and the reset later.
 */
function endSoftly(request: IncomingMessage, lingerMs: number): void {
  const { socket } = request;
  // A request that nobody began to read is thrown away by Node, however long it is.
  request.pause();
  request.read(0);
  ending.add(socket);
  socket.destroySoon = () => {
    socket.end();
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => clearTimeout(timer));
  };
}

const brokenRequests: Record<string, [string, string, string]> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'too_slow', 'The request was not here in time.'],
  HPE_HEADER_OVERFLOW: [
    '431 Request Header Fields Too Large',
    'headers_too_large',
    'Headers have 16 kB at most.',
  ],
};

const notHttp: [string, string, string] = ['400 Bad Request', 'bad_request', 'This is not HTTP.'];

/** What was no request as HTTP has it, or not here in time, is told so, and its connection ends. */
export function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  const [status, code, message] = brokenRequests[error.code ?? ''] ?? notHttp;
  const body = JSON.stringify(toErrorBody(code, message));
  const head = `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close`;
  if (socket.writable) socket.write(`${head}\r\n\r\n${body}`);
  socket.destroy();
}

// A path may have 16 kB.
const shownCharacters = 200;

/** In the place of Fastify's own words, which quote the whole path, and before any hook. */
export function createBadUrlHandler(limits: DoorLimits) {
  return (error: { statusCode?: number }, request: FastifyRequest, reply: FastifyReply): void => {
    closeEarly(request, reply, limits);
    void reply.code(error.statusCode ?? 400).send(toErrorBody('bad_url', 'The path cannot be read.'));
  };
}

export function notFound(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const url = request.url.slice(0, shownCharacters);
  return reply.code(404).send(toErrorBody('not_found', `There is no ${request.method} ${url}; see /docs.`));
}
