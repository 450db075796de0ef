import { describe, expect, it } from 'vitest';
import type { CrashPoint } from '../../src/crash-points.ts';
import { createOpenAiProvider } from '../../src/provider/openai.ts';
import { waitFor } from '../support/service.ts';
import { type CrashWorld, type CrashWorldOptions, rowCount, startCrashWorld } from './crash-world.ts';

/** What the provider has to do for the worker to come there at all, and how many batches are then to be cancelled. */
type Scenario = CrashWorldOptions & { strays?: number; meanwhile?: (world: CrashWorld) => Promise<void> };

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
  stray_recorded: { faults: ['reset_before:create@1'], meanwhile: createTooLate, strays: 1 },
};

// Five worlds run side by side: beside other work each takes up to a minute.
describe.concurrent('a worker that is killed at', { timeout: 180_000 }, () => {
  for (const [point, scenario] of Object.entries(scenarios) as [CrashPoint, Scenario][]) {
    it(`${point} leaves nothing lost and nothing paid twice`, async ({ onTestFinished }) => {
      const { strays = 0, meanwhile = async () => {}, ...options } = scenario;
      const world = await startCrashWorld(options);
      onTestFinished(() => world.stop());
      await Promise.all([world.crashAt(point, 1), meanwhile(world)]);
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

/** Has the create of a given-up intent take effect after all, when its file is gone already. */
async function createTooLate({ sql, simulator }: CrashWorld): Promise<void> {
  // With a file: on a slow machine the worker may lose its lease, and with it an intent, before it has uploaded one.
  const intent = await waitFor('an intent is given up', async () => {
    const [row] = await sql<{ id: number; key: string; endpoint: string; input_file_id: string }[]>`
      select id, key, endpoint, input_file_id from rowmill.batch_processing_details
      where state = 'abandoned' and input_file_id is not null`;
    return row && simulator.files().every(({ id }) => id !== row.input_file_id) ? row : null;
  });
  const provider = createOpenAiProvider({ apiKey: 'test', baseURL: simulator.url });
  const create = () =>
    provider.createBatch({
      inputFileId: intent.input_file_id,
      endpoint: intent.endpoint,
      metadata: { rowmill_key: intent.key },
    });
  // On a slow machine the worker loses its lease before its own create is sent: then this one meets the fault.
  await create().catch(create);
  // Its last search may be over on a slow machine; what this is about comes after.
  await waitFor('it is found', async () => {
    const searched = await sql`
      update rowmill.batch_processing_details set sweep_at = now() where id = ${intent.id} and state = 'abandoned' returning id`;
    return searched.length === 0;
  });
}

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
