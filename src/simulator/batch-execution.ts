import type { FileHandle } from 'node:fs/promises';
import { type BatchObject, moveTo } from './batch-object.ts';
import { BatchResults } from './batch-results.ts';
import type { Faults } from './faults.ts';
import type { FileObject, FileStore } from './file-store.ts';
import type { Ledger } from './ledger.ts';
import { readLines } from './lines.ts';
import { Breather, pause } from './pauses.ts';
import type { Json } from './request.ts';

export type Execution = {
  batch: BatchObject;
  input: FileHandle;
  files: FileStore;
  ledger: Ledger;
  faults: Faults;
  /** Aborted when the batch is cancelled: what is left is not executed but named in the error file. */
  cancelled: AbortSignal;
  /** True once the simulator closes: everything is dropped. */
  isClosing: () => boolean;
  perRequestMs: number;
  cachedShare: number;
  outputExpiresAfterSeconds: number;
};

export type Executed = {
  ended: 'completed' | 'cancelled' | 'expired';
  output: FileObject | null;
  errors: FileObject | null;
};

/** Executes a checked input file line by line; null where the simulator closed meanwhile. */
export async function executeBatch(execution: Execution): Promise<Executed | null> {
  const { input, cancelled, isClosing, perRequestMs } = execution;
  const results = new BatchResults(execution);
  const breather = new Breather();
  const startedAt = performance.now();
  let executed = 0;
  let ended: Executed['ended'] = 'completed';
  let isKept = false;

  try {
    for await (const lines of readLines(input)) {
      for (const text of lines) {
        if (isClosing()) return null;
        if (ended === 'completed') ended = endOf(execution, executed);
        const line = JSON.parse(text) as { custom_id: string; body: Json };
        if (ended !== 'completed') {
          results.leaveOut(line.custom_id, ended);
        } else {
          results.execute(line.custom_id, line.body);
          executed++;
          const aheadMs = perRequestMs > 0 ? startedAt + executed * perRequestMs - performance.now() : 0;
          // Timers are coarse: several short delays are waited for at once.
          if (aheadMs >= 2) await pause(aheadMs, cancelled);
        }
        if (breather.isDue()) await breather.breathe();
        if (results.isDue) await results.flush();
      }
    }
    if (ended === 'completed') ended = endOf(execution, executed);
    if (isClosing()) return null;
    const files = await results.finish();
    isKept = true;
    return { ended, ...files };
  } finally {
    if (!isKept) await results.discard();
  }
}

/** What a batch comes to after this many requests; `completed` as long as nothing comes in between. */
function endOf({ batch, cancelled, faults }: Execution, executed: number): Executed['ended'] {
  if (cancelled.aborted) return 'cancelled';
  if (faults.expires?.(batch, executed)) return 'expired';
  if (!faults.cancels?.(batch, executed)) return 'completed';
  moveTo(batch, 'cancelling');
  return 'cancelled';
}
