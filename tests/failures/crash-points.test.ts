import { describe, expect, it } from 'vitest';
import type { CrashPoint } from '../../src/crash-points.ts';
import { type CrashWorld, type CrashWorldOptions, rowCount, startCrashWorld } from './crash-world.ts';

/** What the provider has to do for the worker to come there at all, and how many batches are then to be cancelled. */
type Scenario = CrashWorldOptions & { strays?: number };

// Each point has to stand here: a new one without a scenario does not compile.
const scenarios: Record<CrashPoint, Scenario> = {
  chunk_claimed: {},
  rows_held: {},
  intent_written: {},
  file_uploaded: {},
  file_noted: {},
  batch_created: {},
  batch_started: {},
  create_unanswered: { faults: ['reset_after:create@1'] },
  polls_claimed: {},
  poll_answered: {},
  poll_recorded: {},
  harvest_claimed: {},
  slice_applied: {},
  files_applied: {},
  harvest_finished: {},
  file_deleted: {},
  files_deleted: {},
  intents_claimed: { faults: ['reset_after:create@1'] },
  batch_found: { faults: ['reset_after:create@1'] },
  intent_given_up: { faults: ['reset_before:create@1'] },
  sweep_claimed: { faults: ['reset_after:upload@1'] },
  swept_file_deleted: { faults: ['reset_after:upload@1'] },
  // The create takes effect between the moment when it is given up and the last search for what it left.
  stray_recorded: { faults: ['late_effect:create@1;ms=3300'], delays: { validatingMs: 2500 }, strays: 1 },
};

describe.concurrent('a worker that is killed at', () => {
  for (const [point, scenario] of Object.entries(scenarios) as [CrashPoint, Scenario][]) {
    it(`${point} leaves nothing lost and nothing paid twice`, async ({ onTestFinished }) => {
      const { strays = 0, ...options } = scenario;
      const world = await startCrashWorld(options);
      onTestFinished(() => world.stop());
      await world.crashAt(point, 1);
      await world.recover();
      await expectRight(world, strays);
    });
  }

  it('the second slice of a file goes on behind it, and counts each token once', async ({
    onTestFinished,
  }) => {
    const world = await startCrashWorld();
    onTestFinished(() => world.stop());
    await world.crashAt('slice_applied', 2);
    await world.recover();
    await expectRight(world, 0);
  });
});

async function expectRight({ sql, simulator }: CrashWorld, strays: number): Promise<void> {
  const [rows] = await sql<{ right: number; all: number }[]>`
    select count(*)::integer as all,
      (count(*) filter (where summary like title || ':%' and categories is not null))::integer as right
    from films`;
  expect(rows).toEqual({ all: rowCount, right: rowCount });
  expect(await sql`select * from rowmill.row_failures`).toEqual([]);

  const { executed, failed, repeatedPrompts, inputTokens, outputTokens, filesHeld } =
    simulator.ledger.summary();
  expect({ executed, failed, repeatedPrompts, filesHeld }).toEqual({
    ...{ executed: rowCount, failed: 0, repeatedPrompts: 0, filesHeld: 0 },
  });
  const [paid] = await sql`
    select sum(input_tokens)::integer as input, sum(output_tokens)::integer as output, count(*) filter (where cancel_asked)::integer as strays
    from rowmill.batch_processing_details`;
  expect(paid).toEqual({ input: inputTokens, output: outputTokens, strays });

  const known = await sql<{ id: string }[]>`
    select provider_batch_id as id from rowmill.batch_processing_details where provider_batch_id is not null`;
  expect(
    simulator
      .batches()
      .map(({ id }) => id)
      .sort(),
  ).toEqual(known.map(({ id }) => id).sort());
  expect(await sql`select from rowmill.chunk_rows`).toHaveLength(0);
  expect(await sql`select from rowmill.chunks where state <> 'done'`).toHaveLength(0);
}
