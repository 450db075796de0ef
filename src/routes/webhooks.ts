import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Deps } from '../deps.ts';
import { isDatabaseAway, RowmillError } from '../errors.ts';
import type { WebhookHeaders } from '../provider/provider.ts';
import { errorBody, toErrorBody } from './error-body.ts';
import { HttpError } from './http-error.ts';
import { createReception, retryAfterSeconds } from './reception.ts';
import { readSignedHeaders } from './signed-headers.ts';

// An event has some 150 bytes.
const maxBodyBytes = 16_000;
// All bodies together, in the blocks that they take.
const maxBytesAtOnce = 2_000_000;
const maxIdLength = 256;
const expectedHeaders =
  'Expected webhook-id, a webhook-timestamp within 5 minutes, and webhook-signature over "id.timestamp.body" with OPENAI_WEBHOOK_SECRET.';

const event = z
  .object({
    type: z.enum(['batch.completed', 'batch.failed', 'batch.expired', 'batch.cancelled']),
    data: z.object({ id: z.string().min(1).max(256).describe("The batch's id.") }),
  })
  .describe("OpenAI's event; what else is in it is not read.");
const answer = z.object({ status: z.enum(['due', 'known']) });

type Options = { deps: Deps; wakePoll: () => void };

/**
 * `POST /v1/webhooks/openai`: a hint that a batch has ended. Whatever it says, polling alone tells what became of the
 * batch; so a webhook that is lost, late or a lie costs one look at the most.
 */
export async function webhooksRoute(app: FastifyInstance, { deps, wakePoll }: Options): Promise<void> {
  const count = (result: string) => deps.metrics.webhooks.inc({ result });

  // The signature covers the body as it came, whatever it says that it is.
  app.removeAllContentTypeParsers();
  const reception = createReception({
    hasRoom: (bytes, others) => bytes + others <= maxBytesAtOnce,
    gauge: deps.metrics.receivingBytes,
  });
  app.addHook('preClose', async () => reception.close());
  app.addContentTypeParser('*', async (_request: FastifyRequest, payload: Readable) => {
    const received = await reception.receive(payload, { maxBytes: maxBodyBytes });
    const text = received.text();
    received.release();
    return text;
  });

  app.withTypeProvider<ZodTypeProvider>().post(
    '/v1/webhooks/openai',
    {
      schema: {
        summary: "Take OpenAI's word that a batch has ended",
        description:
          'Signed by OpenAI with the secret of the endpoint: webhook-id, webhook-timestamp and webhook-signature over "id.timestamp.body". Repeating it is harmless. A batch that is not known is answered 404, so that OpenAI sends it again.',
        body: event,
        response: {
          200: answer,
          401: errorBody,
          404: errorBody,
          413: errorBody,
          422: errorBody,
          503: errorBody,
        },
      },
      // Before the body is read: a stranger's costs no more than headers.
      onRequest: async (request: FastifyRequest) => {
        if ((request.headers['webhook-id']?.length ?? 0) > maxIdLength)
          throw new HttpError(
            422,
            'invalid_id',
            `Expected a webhook-id of ${maxIdLength} characters at most.`,
          );
        readSignedHeaders(request.headers, expectedHeaders);
        if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes)
          throw new HttpError(413, 'too_large', 'The body is too long.');
      },
      // Not in the parser: a request without a body never comes there.
      preValidation: async (request: { body: unknown; headers: WebhookHeaders }) => {
        const body = typeof request.body === 'string' ? request.body : '';
        request.body = await deps.provider.readWebhook(body, request.headers);
      },
    },
    async (request, reply) => {
      const batchId = request.body.data.id;
      const status = await deps.store.noteWebhook(request.headers['webhook-id'] as string, batchId);
      count(status);
      if (status === 'unknown') {
        const message = `There is no batch ${batchId} here; one that was created a moment ago is known soon.`;
        return reply.code(404).send(toErrorBody('unknown_batch', message));
      }
      if (status === 'due') {
        request.log.info(
          { provider_batch: batchId, type: request.body.type },
          'a webhook: the batch is polled',
        );
        wakePoll();
      }
      return reply.code(200).send({ status });
    },
  );

  app.setErrorHandler(
    (
      error: { statusCode?: number; code?: string; message: string; validation?: unknown },
      request,
      reply,
    ) => {
      const refuse = (status: number, code: string, message: string) => {
        count(status === 401 ? 'refused' : 'invalid');
        return reply.code(status).send(toErrorBody(code, message));
      };
      if (error.validation) {
        const message = `The body is not an event of a batch: ${error.message}. Have OpenAI send batch.* events alone.`;
        return refuse(422, 'invalid_event', message);
      }
      if (error.statusCode === 413)
        return refuse(413, 'too_large', `A body has ${maxBodyBytes} bytes at most.`);
      if (error instanceof RowmillError) {
        if (error.code === 'no_secret') return refuse(401, error.code, error.message);
        if (error.code === 'bad_signature' || error.code === 'bad_timestamp')
          return refuse(401, 'bad_signature', error.message);
        if (error.code === 'invalid_json' || error.code === 'invalid_id')
          return refuse(422, error.code, error.message);
      }
      if (error.statusCode === 503) {
        reply.header('retry-after', retryAfterSeconds);
        return reply
          .code(503)
          .send(toErrorBody('busy', `Too much is in memory; try again in ${retryAfterSeconds} s.`));
      }
      if (isDatabaseAway(error)) {
        reply.header('retry-after', retryAfterSeconds);
        return reply.code(503).send(toErrorBody(error.code, error.message));
      }
      const status = error.statusCode ?? 500;
      if (status < 500) return refuse(status, error.code ?? 'bad_request', error.message);
      request.log.error({ err: error }, 'a webhook failed');
      return reply
        .code(500)
        .send(toErrorBody('internal', 'The worker failed; the batch is polled all the same, later.'));
    },
  );
}
