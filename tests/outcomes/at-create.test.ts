import { afterEach, describe, expect, it } from 'vitest';
import { ApiError } from '../../src/simulator/errors.ts';
import { batchStates, chunkStates, failures, queue, status } from '../jobs/job-world.ts';
import {
  firstRound,
  type OutcomeWorld,
  round,
  rowFailures,
  send,
  startOutcomeWorld,
} from './outcome-world.ts';

describe('a create that the provider refuses', () => {
  let world: OutcomeWorld;
  let isRefused: boolean;
  afterEach(() => world.stop());

  async function start(status: number, code: string): Promise<void> {
    isRefused = true;
    world = await startOutcomeWorld({
      faults: {
        beforeReply: async ({ route }) =>
          isRefused && route === 'create' ? new ApiError(status, 'It will not do.', { code }) : undefined,
      },
    });
  }

  it.each([
    [402, 'payment_required'],
    [429, 'insufficient_quota'],
    [400, 'billing_hard_limit_reached'],
  ])('for want of money (%i %s) pauses the pipeline; resume_pipeline goes on', async (httpStatus, code) => {
    await start(httpStatus, code);
    await queue(world, 1, 10);
    await send(world);
    expect(await failures(world)).toEqual([]);
    expect(await status(world)).toMatchObject({ state: 'paused', waiting: 10, in_flight: 0, retrying: 0 });
    expect((await status(world)).state_reason).toMatch(
      /^quota_exhausted: .*It will not do\..*select rowmill\.resume_pipeline\('films'\);$/,
    );
    expect(world.simulator.ledger.filesHeld()).toBe(0);
    isRefused = false;
    await round(world);
    expect(world.simulator.ledger.batchesCreated).toBe(0);
    await world.sql`select rowmill.resume_pipeline('films')`;
    await round(world);
    expect(await status(world)).toMatchObject({ state: 'active', enriched: 10, waiting: 0, problem: null });
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: 10, batchesCreated: 1 });
  });

  it.each([400, 404, 413, 422])(
    'for good (%i) is batch_rejected: three attempts, and nothing is paid',
    async (httpStatus) => {
      await start(httpStatus, 'not_like_this');
      await firstRound(world, 10);
      expect(await failures(world)).toMatchObject(
        Array(10).fill({
          error_class: 'batch_rejected',
          code: 'not_like_this',
          attempts: 1,
          is_final: false,
        }),
      );
      await round(world);
      await round(world);
      expect(await rowFailures(world)).toMatchObject(
        Array(10).fill({
          error_class: 'batch_rejected',
          attempts: 3,
          message: expect.stringContaining('It will not do.'),
        }),
      );
      expect(await batchStates(world)).toEqual(Array(3).fill('rejected'));
      expect(await chunkStates(world)).toEqual(Array(3).fill('done'));
      expect(world.simulator.ledger.summary()).toMatchObject({
        executed: 0,
        batchesCreated: 0,
        filesHeld: 0,
      });
      expect(await status(world)).toMatchObject({ state: 'paused', failed: 10 });
      expect((await status(world)).state_reason).toContain(
        '3 batches in a row failed, mostly with batch_rejected',
      );
    },
  );

  it.each([
    [401, 'invalid_api_key'],
    [403, 'not_allowed'],
    [429, 'rate_limit_exceeded'],
  ])('for no fault of the rows (%i %s) has the chunk wait, uncounted', async (httpStatus, code) => {
    await start(httpStatus, code);
    await queue(world, 1, 10);
    for (let time = 0; time < 4; time += 1) {
      await world.sql`update rowmill.pipelines set wait_until = null`;
      await send(world);
    }
    expect(await failures(world)).toEqual([]);
    expect(await status(world)).toMatchObject({ state: 'active', waiting: 10, failed: 0 });
    isRefused = false;
    await world.sql`update rowmill.pipelines set wait_until = null`;
    await round(world);
    expect(await status(world)).toMatchObject({ enriched: 10, waiting: 0 });
  });

  it('once it has looked at the file, for want of money, pauses the pipeline and counts nothing', async () => {
    const error = {
      code: 'billing_hard_limit_reached',
      message: 'No money is left.',
      param: null,
      line: null,
    };
    let isPoor = true;
    world = await startOutcomeWorld({ faults: { validation: () => (isPoor ? [error] : []) } });
    await firstRound(world, 10);
    expect(await failures(world)).toMatchObject(
      Array(10).fill({ error_class: 'quota_exhausted', code: error.code, attempts: 0, is_final: false }),
    );
    expect(await status(world)).toMatchObject({ state: 'paused', pending: 10, failed: 0 });
    isPoor = false;
    await world.sql`select rowmill.resume_pipeline('films')`;
    await round(world);
    expect(await status(world)).toMatchObject({ state: 'active', enriched: 10, retrying: 0 });
  });
});
