import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import * as poll from '../../src/jobs/poll.ts';
import * as recover from '../../src/jobs/recover.ts';
import * as submit from '../../src/jobs/submit.ts';
import { ApiError } from '../../src/simulator/errors.ts';
import type { Faults } from '../../src/simulator/faults.ts';
import {
  batches,
  failures,
  type JobWorld,
  options,
  passTime,
  queue,
  startJobWorld,
  status,
} from './job-world.ts';

describe('the jobs over HTTP, with a provider that', () => {
  let world: JobWorld;
  afterEach(() => world.stop());

  async function start(faults: Faults): Promise<void> {
    world = await startJobWorld({ simulator: { faults }, pipeline: { chunk_size: 2000, max_attempts: 2 } });
  }
  const submitAll = () => submit.runOnce(world.worker, options());
  const harvestAll = () => harvest.runOnce(world.worker, options());
  /** Polls until every batch that the provider has is over there. */
  async function pollToTheEnd(): Promise<void> {
    await expect
      .poll(async () => {
        await poll.runOnce(world.worker, options());
        return (await batches(world)).filter((batch) => batch.state === 'running').length;
      })
      .toBe(0);
  }

  it('does as it should: every row is enriched and paid for once', async () => {
    await start({});
    await queue(world, 1, 1500);
    expect(await submitAll()).toMatchObject({ submitted: 1 });
    await pollToTheEnd();
    expect(await harvestAll()).toMatchObject({ harvested: 1, failed: 0 });
    expect(await status(world)).toMatchObject({ enriched: 1500, in_flight: 0, failed: 0, problem: null });
    expect(world.simulator!.ledger.summary()).toMatchObject({
      executed: 1500,
      repeatedPrompts: 0,
      batchesCreated: 1,
      filesHeld: 0,
    });
  });

  it('loses the answer to a create: the batch is adopted, and paid for once', async () => {
    let lost = 0;
    await start({
      afterHandling: async ({ method, path }) => {
        if (method !== 'POST' || path !== '/v1/batches' || lost > 0) return undefined;
        lost += 1;
        return new ApiError(502, 'Bad gateway');
      },
    });
    await queue(world, 1, 10);
    expect(await submitAll()).toMatchObject({ submitted: 0 });
    await passTime(world, '20 seconds');
    expect(await recover.runOnce(world.worker, options())).toMatchObject({ recovered: 1 });
    await pollToTheEnd();
    await harvestAll();
    expect(await status(world)).toMatchObject({ enriched: 10 });
    expect(world.simulator!.ledger.summary()).toMatchObject({ executed: 10, batchesCreated: 1 });
  });

  it.each([
    [401, 'invalid_api_key'],
    [429, 'rate_limit_exceeded'],
  ])(
    'answers a create with %i: the chunk waits, no attempt is counted, and the problem can be read',
    async (code, name) => {
      await start({
        beforeReply: async ({ method, path }) =>
          method === 'POST' && path === '/v1/batches' ? new ApiError(code, 'no', { code: name }) : undefined,
      });
      await queue(world, 1, 10);
      expect(await submitAll()).toMatchObject({ fetched: 1, submitted: 0 });
      expect(await status(world)).toMatchObject({ waiting: 10, in_flight: 0, retrying: 0 });
      expect((await status(world)).problem).toContain('refuses work for now');
      expect(await failures(world)).toHaveLength(0);
      expect(world.simulator!.ledger.filesHeld()).toBe(0);
    },
  );

  it('fails the validation of a batch: its rows go round, then stand in row_failures', async () => {
    const error = { code: 'invalid_model', message: 'no such model', param: null, line: 1 };
    await start({ validation: () => [error] });
    await queue(world, 1, 10);
    for (let round = 0; round < 2; round += 1) {
      await submitAll();
      await pollToTheEnd();
      await harvestAll();
      await passTime(world);
      await world.sql`select rowmill.flush('films')`;
    }
    expect(await status(world)).toMatchObject({ failed: 10, pending: 0, waiting: 0 });
    expect((await failures(world))[0]).toMatchObject({
      error_class: 'batch_rejected',
      code: 'invalid_model',
      attempts: 2,
    });
  });

  it('lets a batch expire half done: the rest is sent again, and nothing is paid for twice', async () => {
    let expired = false;
    await start({
      expires: (_batch, executed) => {
        expired ||= executed === 1200;
        return executed === 1200;
      },
    });
    await queue(world, 1, 2000);
    await submitAll();
    await pollToTheEnd();
    await harvestAll();
    expect(expired).toBe(true);
    expect(await status(world)).toMatchObject({ enriched: 1200, pending: 800, failed: 0 });
    await world.sql`select rowmill.flush('films')`;
    await submitAll();
    await pollToTheEnd();
    await harvestAll();
    expect(await status(world)).toMatchObject({ enriched: 2000, pending: 0, failed: 0 });
    expect(world.simulator!.ledger.summary()).toMatchObject({ executed: 2000, repeatedPrompts: 0 });
  });

  it('cuts a download: it is taken up where it was, and nothing is applied or paid for twice', async () => {
    let cuts = 0;
    await start({
      content(_file, bytes) {
        if (cuts > 0) return bytes;
        cuts += 1;
        return Readable.from(upTo(bytes, 500_000));
      },
    });
    await queue(world, 1, 1800);
    await submitAll();
    await pollToTheEnd();
    expect(await harvestAll()).toMatchObject({ harvested: 0, failed: 1 });
    await passTime(world, '20 seconds');
    expect(await harvestAll()).toMatchObject({ harvested: 1, failed: 0 });
    expect(await status(world)).toMatchObject({ enriched: 1800, problem: null });
    expect(await batches(world)).toMatchObject([{ lines_duplicate: 0, rows_failed: 0 }]);
    expect(world.simulator!.ledger.executed).toBe(1800);
    const { input_tokens: tokens } = (await batches(world))[0]!;
    expect(tokens).toBe(world.simulator!.ledger.inputTokens);
  });

  it('cannot tell the size of a file: nothing is read of it, since a cut one would pass for a whole one', async () => {
    let isBroken = true;
    await start({
      beforeReply: async ({ method, path }) =>
        isBroken && method === 'GET' && /^\/v1\/files\/[^/]+$/.test(path)
          ? new ApiError(403, 'not now')
          : undefined,
    });
    await queue(world, 1, 10);
    await submitAll();
    await pollToTheEnd();
    expect(await harvestAll()).toMatchObject({ harvested: 0, failed: 1 });
    expect(await status(world)).toMatchObject({ enriched: 0, in_flight: 10 });
    isBroken = false;
    await passTime(world, '20 seconds');
    expect(await harvestAll()).toMatchObject({ harvested: 1, failed: 0 });
    expect(await status(world)).toMatchObject({ enriched: 10, problem: null });
  });

  it('writes lines twice, not at all, and broken: each row has its answer or goes round', async () => {
    await start({
      written(_batch, line) {
        const { custom_id: id } = JSON.parse(line) as { custom_id: string };
        const n = Number(id.split('-')[1]);
        if (n === 0) return [line, line];
        if (n === 1) return [];
        if (n === 2) return [line.slice(0, 50)];
        return [line];
      },
    });
    await queue(world, 1, 10);
    await submitAll();
    await pollToTheEnd();
    await harvestAll();
    expect(await status(world)).toMatchObject({ enriched: 8, retrying: 2, pending: 2 });
    expect(await failures(world)).toMatchObject([{ error_class: 'missing' }, { error_class: 'missing' }]);
    expect(await batches(world)).toMatchObject([{ lines_duplicate: 1, lines_unknown: 1 }]);
  });

  it('knows nothing of a batch for a while: it runs on', async () => {
    let looks = 0;
    await start({
      beforeReply: async ({ method, path }) => {
        if (method !== 'GET' || !path.startsWith('/v1/batches/')) return undefined;
        looks += 1;
        return looks === 1 ? new ApiError(404, 'No batch found') : undefined;
      },
    });
    await queue(world, 1, 3);
    await submitAll();
    expect(await poll.runOnce(world.worker, options())).toMatchObject({ failed: 1, ended: 0 });
    await pollToTheEnd();
    await harvestAll();
    expect(await status(world)).toMatchObject({ enriched: 3 });
  });
});

async function* upTo(bytes: Readable, count: number): AsyncGenerator<Buffer> {
  let sent = 0;
  for await (const chunk of bytes as AsyncIterable<Buffer>) {
    yield chunk.subarray(0, count - sent);
    sent += chunk.length;
    if (sent >= count) throw new Error('the line is cut');
  }
}
