import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Deps } from '../deps.ts';
import { messageOf, RowmillError } from '../errors.ts';
import { inTime } from '../in-time.ts';
import { tellMissing } from '../store/migrate.ts';
import { errorBody, toErrorBody } from './error-body.ts';

// A database behind a silent network answers nothing; a probe wants to know in time.
const patienceMs = 3000;

const ok = z.object({ status: z.literal('ok'), provider: z.string() });

/** `GET /healthz`: the process answers. `GET /readyz`: the database is reached and its migrations are current. */
export async function healthRoutes(app: FastifyInstance, options: { deps: Deps }): Promise<void> {
  const { store, provider } = options.deps;
  const typed = app.withTypeProvider<ZodTypeProvider>();

  typed.get('/healthz', { schema: { summary: 'Alive', response: { 200: ok } } }, async () => ({
    status: 'ok' as const,
    provider: provider.name,
  }));

  typed.get(
    '/readyz',
    {
      schema: {
        summary: 'Ready: database reached, migrations current',
        response: { 200: ok, 503: errorBody },
      },
    },
    async (_request, reply) => {
      try {
        const missing = await inTime(store.missingMigrations(), patienceMs, silent);
        if (missing.length > 0) {
          return reply.code(503).send(toErrorBody('migrations_missing', tellMissing(missing)));
        }
      } catch (error) {
        const code = error instanceof RowmillError ? error.code : 'database_unreachable';
        return reply.code(503).send(toErrorBody(code, messageOf(error)));
      }
      return reply.code(200).send({ status: 'ok' as const, provider: provider.name });
    },
  );
}

function silent(): Error {
  return new Error(`The database has not answered within ${patienceMs / 1000} s.`);
}
