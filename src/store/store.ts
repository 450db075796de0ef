import { now } from '../moment.ts';
import type { InputRow, PipelineDefinition } from '../pipeline/pipeline.ts';
import type { DuePoll, PollResult, StartResult, TickCounts, WebhookResult } from './calls.ts';
import { claimInSlices, giveInSlices } from './in-slices.ts';
import { leasedCalls } from './leased-calls.ts';
import { type Hold, Leases } from './leases.ts';
import type { Transport } from './transport.ts';

export type * from './calls.ts';

export type Store = ReturnType<typeof createStore>;
/** A lease, and the calls that are made under it. */
export type Lease = { hold: Hold } & ReturnType<typeof leasedCalls>;

/**
 * The SQL functions of a worker, by name; what each does, returns and leaves on a crash stands in its
 * `comment on function`. `worker` is the id of this process; what it holds, it holds under leases.
 */
export function createStore(transport: Transport, worker: string, version: string) {
  const leases = new Leases(worker);
  const { maxRows } = transport;

  /** Says that this worker lives, and renews what it has in hand. Rejects where the database is out of reach. */
  async function renewLeases(): Promise<number> {
    const ids = leases.ids();
    const sentAt = now();
    const [row] = await transport.rows<{ lease_ms: number; renewed: number }>('renew_leases', {
      worker,
      version,
      leases: ids,
    });
    leases.renewed(ids, sentAt, row!.lease_ms);
    return row!.renewed;
  }

  return {
    worker,

    renewLeases,
    /** How long a lease lasts; null before the first renewal. */
    leaseMs: () => leases.durationMs,
    /** A fresh lease, for a claim that follows at once. Whoever takes it ends it. */
    takeLease: async (): Promise<Lease> => {
      if (leases.durationMs === null) await renewLeases();
      const hold = leases.take();
      return { hold, ...leasedCalls(transport, hold.id) };
    },

    tick: (maxChunks: number) => transport.value<TickCounts>('tick', { max_chunks: maxChunks }),
    readChunk: async (chunkId: number, fromN: number, places: number): Promise<InputRow[]> => {
      const rows: InputRow[] = [];
      // By places, not by rows: one that is gone leaves a gap.
      for (let from = 0; from < places; from += maxRows) {
        const args = {
          chunk_id: chunkId,
          from_n: fromN + from,
          place_count: Math.min(maxRows, places - from),
        };
        rows.push(...(await transport.rows<InputRow>('read_chunk', args)));
      }
      return rows;
    },
    /** A version of it; the current one where none is said. */
    getPipeline: (pipelineId: number, version: number | null = null) =>
      transport.value<PipelineDefinition | null>('get_pipeline', { pipeline_id: pipelineId, version }),
    notePipelineProblem: (pipelineId: number, problem: string | null) =>
      transport.value<void>('note_pipeline_problem', { pipeline_id: pipelineId, problem }),
    startBatch: (batchId: number, providerBatchId: string, providerStatus: string, inputFileId: string) =>
      transport.value<StartResult>('start_batch', {
        batch_id: batchId,
        provider_batch_id: providerBatchId,
        provider_status: providerStatus,
        input_file_id: inputFileId,
      }),

    /** `again`: false for those that give no trouble, true for the others, null for all. */
    claimDuePolls: (maxBatches: number, togetherFrom: number, again: boolean | null = null) =>
      claimInSlices(maxBatches, maxRows, (rows) =>
        transport.rows<DuePoll>('claim_due_polls', { max_batches: rows, together_from: togetherFrom, again }),
      ),
    /** Resolves with the new states of those that were still running. */
    recordPolls: (polls: PollResult[]) =>
      giveInSlices(polls, maxRows, (some) =>
        transport.rows<{ batch_id: number; state: string }>('record_polls', { polls: some }),
      ),
    notePollProblem: (batchId: number, problem: string, isGone: boolean) =>
      transport.value<boolean>('note_poll_problem', { batch_id: batchId, problem, is_gone: isGone }),

    /** `due`: that batch is looked at next. `unknown`: there is no such batch, and nothing was noted. */
    noteWebhook: (webhookId: string, providerBatchId: string) =>
      transport.value<WebhookResult>('note_webhook', {
        webhook_id: webhookId,
        provider_batch_id: providerBatchId,
      }),

    missingMigrations: () => transport.missingMigrations(),
    writability: () => transport.writability(),
    close: (timeoutMs: number) => transport.close(timeoutMs),
  };
}
