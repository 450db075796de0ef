import type { FastifyInstance } from 'fastify';
import { type BatchObject, newBatchObject } from './batch-object.ts';
import type { BatchRunner } from './batch-runner.ts';
import { readNewBatch } from './create-params.ts';
import { ApiError, invalidValue } from './errors.ts';
import type { Ledger } from './ledger.ts';
import { pageOf, readLimit } from './paging.ts';

type ById = { Params: { id: string } };
type List = { Querystring: { after?: string; limit?: string } };

/** The routes below /v1/batches, and the batches themselves: they live as long as the simulator. */
export function registerBatchRoutes(app: FastifyInstance, runner: BatchRunner, ledger: Ledger): void {
  const batches = new Map<string, BatchObject>();

  const find = (id: string): BatchObject => {
    if (!id.startsWith('batch')) {
      throw invalidValue('batch_id', `Invalid 'batch_id': '${id}'. Expected an ID that begins with 'batch'.`);
    }
    const batch = batches.get(id);
    if (!batch) throw new ApiError(404, `No batch found with id '${id}'.`);
    return batch;
  };

  app.post('/v1/batches', ({ body }) => {
    const wanted = readNewBatch(body);
    const batch = newBatchObject(wanted);
    batches.set(batch.id, batch);
    ledger.batchesCreated++;
    // The reply shows the batch as created, however quickly it goes on.
    const created = structuredClone(batch);
    runner.start(batch, wanted.outputExpiresAfterSeconds);
    return created;
  });

  app.get<List>('/v1/batches', ({ query }) => {
    const newestFirst = [...batches.values()].reverse();
    return pageOf(newestFirst, query.after, readLimit(query.limit, 20, 100));
  });

  app.get<ById>('/v1/batches/:id', ({ params }) => find(params.id));

  app.post<ById>('/v1/batches/:id/cancel', ({ params }) => {
    const batch = find(params.id);
    runner.cancel(batch);
    return structuredClone(batch);
  });
}
