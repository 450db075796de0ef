import type { FastifyInstance } from 'fastify';
import { type BatchObject, newBatchObject, noSuchBatch } from './batch-object.ts';
import type { BatchRunner } from './batch-runner.ts';
import { readNewBatch } from './create-params.ts';
import type { CreateRate } from './create-rate.ts';
import { invalidValue } from './errors.ts';
import type { Faults } from './faults.ts';
import { sendInstead } from './http-faults.ts';
import type { Ledger } from './ledger.ts';
import { pageOf, readLimit } from './paging.ts';

type ById = { Params: { id: string } };
type List = { Querystring: { after?: string; limit?: string } };

export type BatchRoutesDeps = {
  /** By id, the oldest first; they live as long as the simulator. */
  batches: Map<string, BatchObject>;
  runner: BatchRunner;
  ledger: Ledger;
  faults: Faults;
  rate: CreateRate;
};

/** The routes below /v1/batches. */
export function registerBatchRoutes(app: FastifyInstance, deps: BatchRoutesDeps): void {
  const { batches, runner, ledger, faults, rate } = deps;
  const show = (batch: BatchObject) => faults.shown?.(batch) ?? batch;

  const find = (id: string): BatchObject => {
    if (!id.startsWith('batch')) {
      throw invalidValue('batch_id', `Invalid 'batch_id': '${id}'. Expected an ID that begins with 'batch'.`);
    }
    const batch = batches.get(id);
    if (!batch) throw noSuchBatch(id);
    return batch;
  };

  app.post('/v1/batches', ({ body }, reply) => {
    const wanted = readNewBatch(body);
    rate.take();
    const batch = newBatchObject(wanted);
    batches.set(batch.id, batch);
    ledger.batchesCreated++;
    faults.created?.(batch);
    // The reply shows the batch as created, however quickly it goes on.
    const created = structuredClone(show(batch));
    runner.start(batch, wanted.outputExpiresAfterSeconds);
    return sendInstead(reply, faults.answered?.('create', batch, created)) ?? created;
  });

  app.get<List>('/v1/batches', ({ query }) => {
    const newestFirst = [...batches.values()].reverse();
    const listed = faults.isListed ? newestFirst.filter(faults.isListed) : newestFirst;
    const proper = () => {
      const page = pageOf(listed, query.after, readLimit(query.limit, 20, 100));
      return { ...page, data: page.data.map(show) };
    };
    return faults.listed ? faults.listed('list', query.after, proper) : proper();
  });

  app.get<ById>('/v1/batches/:id', ({ params }, reply) => {
    const batch = find(params.id);
    const error = faults.retrieved?.(batch);
    if (error) throw error;
    const shown = show(batch);
    return sendInstead(reply, faults.answered?.('retrieve', batch, shown)) ?? shown;
  });

  app.post<ById>('/v1/batches/:id/cancel', ({ params }) => {
    const batch = find(params.id);
    runner.cancel(batch);
    return structuredClone(show(batch));
  });
}
