import type { FastifyInstance } from 'fastify';
import pino from 'pino';
import { buildApp } from '../../src/app.ts';
import type { Deps } from '../../src/deps.ts';
import { createMetrics } from '../../src/metrics.ts';
import type { DoorLimits } from '../../src/routes/doors.ts';
import type { Submission } from '../../src/submission/submission.ts';
import { ingestSecret } from '../support/service.ts';

export type BareApp = {
  app: FastifyInstance;
  /** Every call of the store or of the provider, by name. */
  asked: string[];
  // biome-ignore lint/suspicious/noExplicitAny: bodies of every form
  post(body: string, headers: Record<string, string>): Promise<{ status: number; body: any }>;
  // biome-ignore lint/suspicious/noExplicitAny: a part of an OpenAPI document
  operation(path: string): Promise<{ body: any; responses: Record<string, any> }>;
  /** What is at /metrics under this name. */
  gauge(name: string): Promise<number>;
  close(): Promise<void>;
};

export type BareAppOptions = {
  secret?: string | undefined;
  doors?: Partial<DoorLimits>;
  hasRoom?: Submission['hasRoom'];
};

/** The HTTP side of a worker with room for everything, and nothing behind it: what it asks for is noted and fails. */
export async function startBareApp(options: BareAppOptions = { secret: ingestSecret }): Promise<BareApp> {
  const asked: string[] = [];
  const noting = new Proxy(
    {},
    {
      // A provider has one, which /healthz tells.
      get: (_target, name) =>
        name === 'name'
          ? 'none'
          : () => {
              asked.push(String(name));
              throw new Error(`${String(name)} was called`);
            },
    },
  );
  const metrics = createMetrics();
  const deps = {
    store: noting,
    provider: noting,
    logger: pino({ level: 'silent' }),
    metrics,
  } as unknown as Deps;
  const submission = { hasRoom: options.hasRoom ?? (() => true) } as Partial<Submission> as Submission;
  const app = await buildApp({
    ...{ deps, submission, ingestSecret: options.secret, version: 'test' },
    ...(options.doors ? { doors: options.doors } : {}),
    wakePoll: () => {},
  });
  return {
    app,
    asked,
    async post(payload, headers) {
      const response = await app.inject({
        ...{ method: 'POST', url: '/v1/chunks', payload },
        headers: { 'content-type': 'application/json', ...headers },
      });
      return { status: response.statusCode, body: response.json() };
    },
    async operation(path) {
      await app.ready();
      // biome-ignore lint/suspicious/noExplicitAny: as above
      const { requestBody, responses } = (app.swagger().paths as any)[path].post;
      return { body: requestBody.content['application/json'].schema, responses };
    },
    async gauge(name) {
      const metric = await metrics.registry.getSingleMetric(name)!.get();
      return metric.values[0]!.value;
    },
    close: () => app.close(),
  };
}
