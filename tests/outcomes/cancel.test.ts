import { afterEach, describe, expect, it } from 'vitest';
import * as poll from '../../src/jobs/poll.ts';
import { batches, failures, options, queue, status } from '../jobs/job-world.ts';
import { refusal } from '../support/sql-factories.ts';
import {
  collect,
  enrichedIds,
  firstRound,
  type OutcomeWorld,
  paid,
  round,
  send,
  startOutcomeWorld,
} from './outcome-world.ts';

const films = 200;

describe('what is cancelled', () => {
  let world: OutcomeWorld;
  afterEach(() => world.stop());

  /** A batch of which some rows are answered, and most are not. */
  async function startHalfDone(): Promise<void> {
    world = await startOutcomeWorld({ simulator: { delays: { perRequestMs: 20 } } });
    await queue(world, 1, films);
    await send(world);
    await expect.poll(() => world.simulator.batches()[0]!.request_counts.completed).toBeGreaterThan(3);
  }

  async function expectHalfHarvested(): Promise<number> {
    const done = world.simulator.batches()[0]!.request_counts.completed;
    expect(done).toBeLessThan(films);
    expect((await enrichedIds(world)).with).toHaveLength(done);
    expect(await status(world)).toMatchObject({
      enriched: done,
      pending: films - done,
      failed: 0,
      in_flight: 0,
    });
    expect(await batches(world)).toMatchObject([
      { state: 'done', provider_status: 'cancelled', rows_enriched: done, rows_failed: films - done },
    ]);
    const { attempts, classes } = (
      await world.sql`select max(attempts) as attempts, array_agg(distinct error_class) as classes from rowmill.failures`
    )[0]!;
    expect({ attempts, classes }).toEqual({ attempts: 0, classes: ['batch_cancelled'] });
    const [spent] =
      await world.sql`select spent_usd > 0 as is_paid, input_tokens, reserved_usd from rowmill.batch_status`;
    expect(spent).toEqual({
      ...{ is_paid: true, input_tokens: world.simulator.ledger.inputTokens, reserved_usd: '0.000000' },
    });
    return done;
  }

  async function expectTheRestFollows(): Promise<void> {
    await round(world);
    expect(await failures(world)).toEqual([]);
    expect(await status(world)).toMatchObject({ enriched: films, pending: 0, state: 'active' });
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: films, repeatedPrompts: 0 });
  }

  it('by cancel_batch is collected as far as it was answered; the rest goes round uncounted', async () => {
    await startHalfDone();
    const [row] = await world.sql`select rowmill.cancel_batch(1) as words`;
    expect(row!.words).toMatch(/^It is cancelled at the next look/);
    await collect(world);
    await expectHalfHarvested();
    expect((await status(world)).state).toBe('active');
    await expectTheRestFollows();
  });

  it('by cancel_batch is asked for once more where it was asked for twice', async () => {
    await startHalfDone();
    await world.sql`select rowmill.cancel_batch(1), rowmill.cancel_batch(1)`;
    await poll.runOnce(world.worker, options());
    await collect(world);
    await expectHalfHarvested();
  });

  it('by cancel_batch stays in the queue of a pipeline that was paused before', async () => {
    await startHalfDone();
    await world.sql`select rowmill.pause_pipeline('films')`;
    await world.sql`select rowmill.cancel_batch(1)`;
    await collect(world);
    await expectHalfHarvested();
    await round(world);
    expect(world.simulator.ledger.batchesCreated).toBe(1);
  });

  it('by cancel_pipeline is collected likewise, and nothing is sent until resume_pipeline', async () => {
    await startHalfDone();
    await queue(world, films + 1, films + 10); // waits in a chunk
    const [row] = await world.sql`select rowmill.cancel_pipeline('films') as batches`;
    expect(row!.batches).toBe(1);
    expect(await status(world)).toMatchObject({
      state: 'paused',
      state_reason: 'It was cancelled. What was answered is collected; the rest waits in the queue.',
    });
    await world.sql`delete from films where id > ${films}`;
    await collect(world);
    const done = world.simulator.batches()[0]!.request_counts.completed;
    expect(await status(world)).toMatchObject({ enriched: done, pending: films - done, waiting: 10 });
    await round(world);
    expect(world.simulator.ledger.batchesCreated).toBe(1);
    await world.sql`select rowmill.resume_pipeline('films')`;
    await expectTheRestFollows();
  });

  it('by cancel_pipeline may be nothing: it pauses all the same', async () => {
    world = await startOutcomeWorld();
    const [row] = await world.sql`select rowmill.cancel_pipeline('films') as batches`;
    expect(row!.batches).toBe(0);
    expect((await status(world)).state).toBe('paused');
    expect(await refusal(world.sql`select rowmill.cancel_pipeline('flims')`)).toMatchObject({
      code: 'RM111',
    });
  });

  it('before anything was answered costs nothing', async () => {
    world = await startOutcomeWorld({ faults: ['stuck_validating@1'] });
    await queue(world, 1, 10);
    await send(world);
    await world.sql`select rowmill.cancel_batch(1)`;
    await collect(world);
    expect(paid(world)).toBe(0);
    expect(await failures(world)).toMatchObject(
      Array(10).fill({ error_class: 'batch_cancelled', attempts: 0, is_final: false }),
    );
    await round(world);
    expect(await status(world)).toMatchObject({ enriched: 10, retrying: 0 });
  });

  it.each([
    ['cancel_batch', 'select rowmill.cancel_batch(1)'],
    ['cancel_pipeline', "select rowmill.cancel_pipeline('films')"],
  ])('while it is being created is cancelled once it is: %s', async (_name, statement) => {
    let isCancelled = false;
    world = await startOutcomeWorld({
      faults: {
        beforeReply: async ({ route }) => {
          if (route !== 'create' || isCancelled) return undefined;
          isCancelled = true;
          expect(await batches(world)).toMatchObject([{ state: 'preparing' }]);
          await world.sql.unsafe(statement);
          return undefined;
        },
        stays: (_batch, state) =>
          state === 'validating' && world.simulator.batches().length === 1 ? 60_000 : 0,
      },
    });
    await queue(world, 1, 10);
    await send(world);
    expect(isCancelled).toBe(true);
    expect(await batches(world)).toMatchObject([{ state: 'running', cancel_asked: true }]);
    await collect(world);
    expect(await batches(world)).toMatchObject([{ provider_status: 'cancelled' }]);
    expect(await status(world)).toMatchObject({ pending: 10, enriched: 0, failed: 0 });
    expect(paid(world)).toBe(0);
    await world.sql`select rowmill.resume_pipeline('films')`;
    await round(world);
    expect(await status(world)).toMatchObject({ enriched: 10 });
  });

  it('must run: RM115 for a batch that is over, and for one that nobody knows', async () => {
    world = await startOutcomeWorld();
    await firstRound(world, 3);
    expect(await refusal(world.sql`select rowmill.cancel_batch(1)`)).toMatchObject({
      ...{ code: 'RM115', message: 'batch 1 is over', detail: 'It is done.' },
    });
    expect(await refusal(world.sql`select rowmill.cancel_batch(99)`)).toMatchObject({
      ...{ code: 'RM115', message: 'there is no batch 99' },
      detail: "batch_id is Rowmill's number, not the provider's id.",
    });
    const { message, hint } = await refusal(world.sql`select rowmill.cancel_batch(null)`);
    expect(message).toBe('there is no batch null');
    expect(await world.sql.unsafe(hint!)).toEqual([]);
  });
});
