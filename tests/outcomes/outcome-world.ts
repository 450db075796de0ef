import { expect } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import * as poll from '../../src/jobs/poll.ts';
import * as submit from '../../src/jobs/submit.ts';
import { createFaults } from '../../src/simulator/create-faults.ts';
import { parseFault } from '../../src/simulator/fault-rules.ts';
import type { Faults } from '../../src/simulator/faults.ts';
import type { Simulator, SimulatorOptions } from '../../src/simulator/simulator.ts';
import { type JobWorld, options, passTime, queue, startJobWorld } from '../jobs/job-world.ts';
import type { PipelineOptions } from '../support/sql-factories.ts';

export type OutcomeWorld = JobWorld & { simulator: Simulator };

/** A job world whose provider is the simulator, with faults as its command takes them. */
export async function startOutcomeWorld(
  given: { faults?: string[] | Faults; pipeline?: PipelineOptions; simulator?: SimulatorOptions } = {},
): Promise<OutcomeWorld> {
  const { faults = [], pipeline = {}, simulator = {} } = given;
  const world = await startJobWorld({
    pipeline,
    simulator: {
      faults: Array.isArray(faults) ? createFaults(faults.map(parseFault)) : faults,
      ...simulator,
    },
  });
  return world as OutcomeWorld;
}

/** Forms what is due into chunks, as far as pipelines are active, and takes them to the provider. */
export async function send(world: JobWorld): Promise<void> {
  await passTime(world);
  await world.sql`select rowmill.flush(name) from rowmill.pipeline_status where state = 'active'`;
  await submit.runOnce(world.worker, options());
}

/** Polls until every batch is over at the provider, and reads the results. */
export async function collect(world: JobWorld): Promise<void> {
  await expect
    .poll(
      async () => {
        await poll.runOnce(world.worker, options());
        return await world.sql`select id from rowmill.batch_processing_details where state = 'running'`;
      },
      { interval: 10, timeout: 20_000 },
    )
    .toHaveLength(0);
  await harvest.runOnce(world.worker, options());
}

/** Everything that is due goes to the provider once and comes back. */
export async function round(world: JobWorld): Promise<void> {
  await send(world);
  await collect(world);
}

/** The first so many films, sent once and back. */
export async function firstRound(world: JobWorld, films: number): Promise<void> {
  await queue(world, 1, films);
  await round(world);
}

/** Paid requests by the simulator's ledger. */
export function paid(world: OutcomeWorld): number {
  return world.simulator.ledger.executed - world.simulator.ledger.failed;
}

export async function rowFailures(world: JobWorld) {
  return await world.sql`
    select pipeline, key, error_class, code, message, attempts, batch_id
    from rowmill.row_failures order by pipeline, key`;
}

/** Ids of the films that have a summary, and of those that have none. */
export async function enrichedIds(world: JobWorld): Promise<{ with: number[]; without: number[] }> {
  const rows = await world.sql`select id, summary is not null as is_enriched from films order by id`;
  const ids = (isEnriched: boolean) =>
    rows.filter((row) => row.is_enriched === isEnriched).map((row) => row.id);
  return { with: ids(true), without: ids(false) };
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, at) => from + at);
}

export async function why(world: JobWorld, key: number | string, pipeline = 'films') {
  const [row] = await world.sql`select * from rowmill.why(${pipeline}, ${String(key)})`;
  return row!;
}
