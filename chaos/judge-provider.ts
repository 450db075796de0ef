import type { BatchObject } from '../src/simulator/batch-object.ts';
import type { Simulator } from '../src/simulator/simulator.ts';
import type { Connection } from './connection.ts';
import type { Expectation } from './expected.ts';
import { openBatchesOf } from './provider-view.ts';
import { tellRepeats } from './repeats.ts';
import { demanded, type Fact, shown, some } from './report.ts';
import type { Subject } from './subjects.ts';
import type { Trace } from './trace.ts';
import type { Versions } from './versions.ts';

/** What was paid for, and what is left at the provider. */
export async function judgeProvider(
  connection: Connection,
  simulator: Simulator,
  expected: Map<Subject, Expectation>,
  versions: Versions,
  trace: Trace,
): Promise<Fact[]> {
  const { ledger } = simulator;
  const repeats = ledger.unexplainedRepeats;
  const orphans = await findOrphans(connection, simulator);
  const running = openBatchesOf(simulator);
  const files = simulator.files();
  const tell = (batch: BatchObject) => `${batch.id} ${batch.status}, key ${batch.metadata?.rowmill_key}`;
  return [
    demanded(
      'requests paid for twice',
      repeats,
      repeats === 0 ? [] : await tellRepeats(connection, simulator, expected, versions, trace),
    ),
    demanded('batches orphaned at the provider', orphans.length, some(orphans, tell)),
    demanded('batches still running at the provider', running.length, some(running, tell)),
    demanded(
      'files left at the provider',
      files.length,
      some(files, (file) => `${file.id} ${file.purpose} ${file.filename}`),
    ),
    shown('provider: batches created', ledger.batchesCreated, statesOf(simulator.batches())),
    shown('provider: requests executed', ledger.executed),
    shown('provider: requests failed', ledger.failed),
    shown('provider: answers spoiled by faults', ledger.spoiled),
    shown('provider: prompts repeated, explained or not', ledger.repeatedPrompts),
  ];
}

/** Batches that no row of ours names. */
async function findOrphans(connection: Connection, simulator: Simulator): Promise<BatchObject[]> {
  const rows = await connection.run(
    (sql) => sql<{ id: string }[]>`
      select provider_batch_id as id from rowmill.batch_processing_details where provider_batch_id is not null`,
  );
  const known = new Set(rows.map((row) => row.id));
  return simulator.batches().filter((batch) => !known.has(batch.id));
}

function statesOf(batches: BatchObject[]): string[] {
  const counts = Map.groupBy(batches, (batch) => batch.status);
  return [[...counts].map(([status, each]) => `${status}: ${each.length}`).join(', ')];
}
