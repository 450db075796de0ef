import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Deps } from '../deps.ts';
import type { RowmillError } from '../errors.ts';
import { errorBody, toErrorBody } from './error-body.ts';
import { createReadiness } from './readiness.ts';

/** What the jobs say of themselves, and of the database. */
export type Vitals = {
  /** What is wrong with jobs that do not run, or do not end. */
  problems(): string[];
  /** What keeps the database from working; null where nothing does. */
  outage(): RowmillError | null;
};

// A process that stood still hears of probes before its timers have run.
const secondLookMs = 100;

const ok = z.object({ status: z.literal('ok'), provider: z.string() });

/**
 * `GET /healthz`: the process answers, and its jobs run. `GET /readyz`: the database is reached, takes writes, and its
 * migrations are current.
 */
export async function healthRoutes(
  app: FastifyInstance,
  options: { deps: Pick<Deps, 'store' | 'provider' | 'logger'>; vitals: Vitals },
): Promise<void> {
  const { deps, vitals } = options;
  const { store, logger, provider } = deps;
  const typed = app.withTypeProvider<ZodTypeProvider>();
  const whyUnready = createReadiness({ store, logger, outage: vitals.outage });

  typed.get(
    '/healthz',
    { schema: { summary: 'Alive: jobs run', response: { 200: ok, 503: errorBody } } },
    async (_request, reply) => {
      if (vitals.problems().length > 0) await delay(secondLookMs);
      const problems = vitals.problems();
      if (problems.length === 0) return reply.code(200).send({ status: 'ok', provider: provider.name });
      return reply
        .code(503)
        .send(toErrorBody('jobs_stuck', `Start the worker again: ${problems.join('; ')}.`));
    },
  );

  typed.get(
    '/readyz',
    {
      schema: {
        summary: 'Ready: database reached and writable, migrations current',
        response: { 200: ok, 503: errorBody },
      },
    },
    async (_request, reply) => {
      const unready = await whyUnready();
      if (unready === null) return reply.code(200).send({ status: 'ok', provider: provider.name });
      return reply.code(503).send(toErrorBody(unready.code, unready.message));
    },
  );
}
