import multipart from '@fastify/multipart';
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { ApiError, serverError } from './errors.ts';
import type { Faults } from './faults.ts';
import { addRequestFaults, pathOf } from './http-faults.ts';
import { idSeries } from './ids.ts';

// Synchronous requests only: uploads are streamed and have a limit of their own.
const bodyLimit = 64 * 1024 * 1024;

/** A server without routes that speaks as OpenAI's does: bearer keys, error bodies, request ids. */
export function createHttp(faults: Faults, logger: FastifyBaseLogger | undefined): FastifyInstance {
  const requestId = idSeries();
  const app: FastifyInstance = Fastify({
    ...(logger ? { loggerInstance: logger } : {}),
    bodyLimit,
    forceCloseConnections: true,
    genReqId: () => requestId('req_'),
    routerOptions: { maxParamLength: 1_000 },
  });
  app.register(multipart, { throwFileSizeLimit: false });

  // The default parser refuses an empty body, which the SDK sends with a cancel.
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, body === '' ? undefined : JSON.parse(body as string));
    } catch {
      done(new ApiError(400, 'We could not parse the JSON body of your request.'));
    }
  });

  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    if (request.url.startsWith('/v1') && !/^Bearer\s+\S/i.test(request.headers.authorization ?? '')) {
      throw new ApiError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using " +
          'Bearer auth (i.e. Authorization: Bearer YOUR_KEY).',
      );
    }
  });
  addRequestFaults(app, faults);

  app.setErrorHandler((error, request, reply) => {
    const known = asApiError(error);
    if (known.status >= 500) request.log.error(error);
    return reply.code(known.status).type('application/json').send(known.toBody());
  });
  app.setNotFoundHandler((request, reply) => {
    const error = new ApiError(404, `Invalid URL (${request.method} ${pathOf(request.url)})`);
    return reply.code(404).type('application/json').send(error.toBody());
  });
  return app;
}

function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const { statusCode = 500, message } = error as { statusCode?: number; message: string };
  if (statusCode < 500) return new ApiError(statusCode, message);
  return serverError();
}
