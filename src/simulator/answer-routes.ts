import type { FastifyInstance } from 'fastify';
import { executeRequest } from './execute.ts';
import { idSeries } from './ids.ts';
import type { Ledger } from './ledger.ts';
import { endpoints, isJsonObject } from './request.ts';

/** The synchronous endpoints: the same answers as in a batch, at once. */
export function registerAnswerRoutes(app: FastifyInstance, ledger: Ledger, cachedShare: number): void {
  const newId = idSeries();
  for (const endpoint of endpoints) {
    app.post(endpoint, ({ body }, reply) => {
      const outcome = executeRequest(endpoint, isJsonObject(body) ? body : {}, newId, { cachedShare });
      const { status, promptDigest, inputTokens, outputTokens } = outcome;
      ledger.record({ customId: null, promptDigest, succeeded: status === 200, inputTokens, outputTokens });
      return reply.code(status).type('application/json').send(outcome.body);
    });
  }
}
