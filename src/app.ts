import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import { jsonSchemaTransform, serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import type { Deps } from './deps.ts';
import { chunksRoute } from './routes/chunks.ts';
import {
  answerBrokenRequest,
  createBadUrlHandler,
  createDoor,
  type DoorLimits,
  defaultDoorLimits,
  guardDoors,
  notFound,
} from './routes/doors.ts';
import { healthRoutes, type Vitals } from './routes/health.ts';
import { metricsRoute } from './routes/metrics.ts';
import { webhooksRoute } from './routes/webhooks.ts';
import type { Submission } from './submission/submission.ts';

export type AppOptions = {
  deps: Deps;
  submission: Submission;
  ingestSecret: string | undefined;
  /** Has the batches that are due looked at now. */
  wakePoll: () => void;
  version: string;
  /** Without it, as before the jobs have started: all is well. */
  vitals?: Vitals;
  /** For tests: shorter times, fewer connections. */
  doors?: Partial<DoorLimits>;
};

/** The HTTP side of a worker, ready to listen or to be injected into. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { deps, submission, ingestSecret, wakePoll, version } = options;
  const { vitals = { problems: () => [], outage: () => null } } = options;
  const doors = { ...defaultDoorLimits, ...options.doors };
  const app = fastify({
    serverFactory: (listener) => createDoor(listener, doors),
    loggerInstance: deps.logger as FastifyBaseLogger,
    // A probe every few seconds is no news.
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: createBadUrlHandler(doors),
  });
  // A body is read where a route says how, and nowhere else: not by those that take none, nor on an unknown path.
  app.removeAllContentTypeParsers();
  guardDoors(app, doors);
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setNotFoundHandler(notFound);

  await app.register(swagger, {
    openapi: {
      info: { title: 'Rowmill', description: 'Takes chunks of rows to a batch provider.', version },
    },
    transform: jsonSchemaTransform,
  });
  await app.register(swaggerUi, { routePrefix: '/docs' });
  await app.register(healthRoutes, { deps, vitals });
  await app.register(metricsRoute, { metrics: deps.metrics });
  await app.register(chunksRoute, { deps, submission, ingestSecret });
  await app.register(webhooksRoute, { deps, wakePoll });
  return app;
}
