import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Deps } from '../deps.ts';
import { isDatabaseAway, messageOf } from '../errors.ts';
import type { ClaimStatus } from '../store/store.ts';
import type { Submission } from '../submission/submission.ts';
import { keepConnection } from './doors.ts';
import { errorBody, toErrorBody } from './error-body.ts';
import { HttpError } from './http-error.ts';
import { busy, createReception, type Received, retryAfterSeconds } from './reception.ts';
import { isSigned, keyOf, readSignedHeaders, type SignedHeaders } from './signed-headers.ts';

const maxBodyBytes = 16_000_000;
const expectedHeaders =
  'Expected webhook-id, a webhook-timestamp within 5 minutes, and webhook-signature over "id.timestamp.body" with the secret of set_endpoint().';

const row = z.strictObject({
  n: z.int().min(0).describe("The row's place in its chunk."),
  hash: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .describe('Of the input: an answer is written only over the input that it was computed from.'),
  input: z.record(z.string(), z.string().nullable()).describe('Each column that the prompt names, as text.'),
});
const chunk = z.strictObject({
  chunk_id: z.int().positive(),
  pipeline: z.string().min(1),
  rows: z.array(row).max(50_000).optional().describe('Missing: the worker reads the rows itself.'),
});
const ping = z.strictObject({
  ping: z.int().positive().describe('A number to answer with. Nothing is taken, and no database asked.'),
  fill: z.string().optional().describe('Makes the body as long as a chunk would be.'),
});
const answer = z.object({ chunk_id: z.number(), status: z.enum(['accepted', 'known', 'waiting']) });
const pong = z.object({ ping: z.number(), now: z.iso.datetime().describe("The worker's own time.") });

/** A body that names a ping is meant as one: its mistakes are a ping's, and not those of every form that there is. */
const isPing = (body: unknown): body is object =>
  typeof body === 'object' && body !== null && !Array.isArray(body) && 'ping' in body;

type Options = { deps: Deps; submission: Submission; ingestSecret: string | undefined };

/** `POST /v1/chunks`: what pg_net delivers, signed as Standard Webhooks has it. */
export async function chunksRoute(app: FastifyInstance, options: Options): Promise<void> {
  const { deps, submission } = options;
  const key = options.ingestSecret === undefined ? null : keyOf(options.ingestSecret);
  const reception = createReception({ hasRoom: submission.hasRoom, gauge: deps.metrics.receivingBytes });
  app.addHook('preClose', async () => reception.close());

  type Post = { key: Buffer; signed: SignedHeaders; received?: Received };
  const posts = new WeakMap<FastifyRequest, Post>();

  /** Before the body is read: whoever is not ours costs no more than headers, and a worker that is full fills up no further. */
  async function admit(request: FastifyRequest): Promise<void> {
    if (key === null)
      throw new HttpError(401, 'no_secret', 'The worker has no ROWMILL_INGEST_SECRET, so it takes no posts.');
    const signed = readSignedHeaders(request.headers, expectedHeaders);
    if (!isJson(request.headers['content-type']))
      throw new HttpError(415, 'not_json', 'Expected content-type: application/json.');
    const stated = Number(request.headers['content-length'] ?? 0);
    if (stated > maxBodyBytes) throw new HttpError(413, 'too_large', 'The body is too long.');
    if (!reception.couldTake(stated)) throw busy();
    posts.set(request, { key, signed });
  }

  async function readPost(request: FastifyRequest, payload: Readable): Promise<unknown> {
    const post = posts.get(request)!;
    const { 'content-length': stated } = request.headers;
    const received = await reception.receive(payload, {
      maxBytes: maxBodyBytes,
      ...(stated === undefined ? {} : { statedBytes: Number(stated) }),
    });
    // The signature covers the bytes as they came, so it is checked before anything makes sense of them.
    if (!isSigned(post.key, post.signed, received.parts())) {
      received.release();
      throw new HttpError(401, 'bad_signature', `No matching signature found. ${expectedHeaders}`);
    }
    post.received = received;
    try {
      return JSON.parse(received.text());
    } catch (error) {
      throw new HttpError(422, 'invalid_json', `The body is not JSON: ${messageOf(error)}`);
    }
  }

  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: Readable) =>
    readPost(request, payload),
  );

  app.withTypeProvider<ZodTypeProvider>().post(
    '/v1/chunks',
    {
      schema: {
        summary: 'Take a chunk of rows, or answer a ping',
        description:
          'Signed as Standard Webhooks has it: webhook-id, webhook-timestamp and webhook-signature over "id.timestamp.body". Repeating it is harmless. A ping tells the database that posts arrive, and wakes a worker that sleeps.',
        body: z.union([chunk, ping]),
        response: {
          200: z.union([answer, pong]),
          202: answer,
          401: errorBody,
          413: errorBody,
          415: errorBody,
          422: errorBody,
          503: errorBody,
        },
      },
      validatorCompiler: (route) => (body: unknown) =>
        validatorCompiler({ ...route, schema: isPing(body) ? ping : chunk })(body),
      onRequest: admit,
      preHandler: async (request: FastifyRequest, reply: FastifyReply) => keepConnection(request, reply),
      // What was parsed of a body lives until then, or has been handed on.
      onResponse: async (request: FastifyRequest) => posts.get(request)?.received?.release(),
    },
    async (request, reply) => {
      if ('ping' in request.body) {
        return reply.code(200).send({ ping: request.body.ping, now: new Date().toISOString() });
      }
      const { chunk_id: chunkId, pipeline, rows } = request.body;
      const lastN = checkPlaces(rows);
      const lease = await deps.store.takeLease();
      let isTaken = false;
      try {
        const claim = await lease.claimChunk(chunkId, pipeline, lastN);
        refuse(claim.status, chunkId, pipeline, lastN);
        if (claim.status === 'paused')
          return reply.code(200).send({ chunk_id: chunkId, status: 'waiting' as const });
        if (claim.status === 'known')
          return reply.code(200).send({ chunk_id: chunkId, status: 'known' as const });
        // It is in its table, and taken when there is room.
        if (claim.status === 'waits')
          return reply.code(202).send({ chunk_id: chunkId, status: 'waiting' as const });

        isTaken = true;
        deps.metrics.chunks.inc({ came: 'posted' });
        // Answered before the provider hears of it: pg_net waits for every request of its round.
        void submission
          .submit(
            lease,
            {
              pipelineId: claim.pipeline_id!,
              // Rows that were read before the pipeline was altered are read anew.
              chunks: [{ chunkId, rowCount: claim.row_count!, rows: (claim.rows_hold && rows) || null }],
            },
            posts.get(request)!.received!.bytes,
          )
          .finally(() => lease.hold.end());
      } finally {
        if (!isTaken) lease.hold.end();
      }
      return reply.code(202).send({ chunk_id: chunkId, status: 'accepted' as const });
    },
  );

  app.setErrorHandler(
    (
      error: { statusCode?: number; code?: string; message: string; validation?: unknown },
      request,
      reply,
    ) => {
      if (error.validation) {
        const problem = isPing(request.body)
          ? toErrorBody('invalid_ping', `The body is not a ping: ${error.message}`)
          : toErrorBody('invalid_chunk', `The body is not a chunk: ${error.message}`);
        return reply.code(422).send(problem);
      }
      if (error.statusCode === 413) {
        return reply
          .code(413)
          .send(
            toErrorBody(
              'too_large',
              `A body has ${maxBodyBytes} bytes at most; set settings.post_max_bytes lower.`,
            ),
          );
      }
      const status = error.statusCode ?? 500;
      if (status < 500)
        return reply.code(status).send(toErrorBody(error.code ?? 'bad_request', error.message));
      if (error instanceof HttpError && status === 503) reply.header('retry-after', retryAfterSeconds);
      if (error instanceof HttpError) return reply.code(status).send(toErrorBody(error.code, error.message));
      if (isDatabaseAway(error)) {
        reply.header('retry-after', retryAfterSeconds);
        return reply.code(503).send(toErrorBody(error.code, error.message));
      }
      request.log.error({ err: error }, 'a post failed');
      return reply.code(500).send(toErrorBody('internal', 'The worker failed; the chunk stays queued.'));
    },
  );
}

function isJson(type = ''): boolean {
  return type.split(';')[0]!.trim().toLowerCase() === 'application/json';
}

/** The highest place, null without rows. */
function checkPlaces(rows: { n: number }[] | undefined): number | null {
  if (!rows || rows.length === 0) return null;
  const seen = new Set<number>();
  let last = 0;
  for (const { n } of rows) {
    if (seen.has(n)) throw new HttpError(422, 'duplicate_n', `Expected each n once; ${n} came twice.`);
    seen.add(n);
    last = Math.max(last, n);
  }
  return last;
}

function refuse(status: ClaimStatus, chunkId: number, pipeline: string, lastN: number | null): void {
  if (status === 'unknown_pipeline') {
    throw new HttpError(
      422,
      status,
      `There is no pipeline "${pipeline}"; expected one of rowmill.pipeline_status.`,
    );
  }
  if (status === 'unknown_chunk') {
    throw new HttpError(
      422,
      status,
      `Pipeline "${pipeline}" has no chunk ${chunkId}; expected one that its database formed.`,
    );
  }
  if (status === 'foreign_rows') {
    throw new HttpError(
      422,
      status,
      `Chunk ${chunkId} has no row ${lastN}; expected places of this chunk alone.`,
    );
  }
}
