import { afterEach, describe, expect, it } from 'vitest';
import { failures, passTime, queue, status } from '../jobs/job-world.ts';
import type { PipelineOptions } from '../support/sql-factories.ts';
import { collect, type OutcomeWorld, paid, rowFailures, send, startOutcomeWorld } from './outcome-world.ts';
import { requestBodies } from './request-bodies.ts';

const struck = 'Title: film 7';
const spared = 'Title: film 8';
const cut = 'answer_cut;prompt=film 7';

describe('an answer that was cut off', () => {
  let world: OutcomeWorld;
  afterEach(() => world.stop());

  async function start(faults: string[], pipeline: PipelineOptions = {}): Promise<void> {
    world = await startOutcomeWorld({ faults, pipeline });
    await queue(world, 1, 10);
  }

  /** One round; returns what a row's body says of its limit, under any of its names. */
  async function limitsSent(prompt: string): Promise<Record<string, unknown>> {
    await send(world);
    const body = (await requestBodies(world)).get(prompt)!;
    await collect(world);
    const names = ['max_completion_tokens', 'max_tokens', 'max_output_tokens'];
    return Object.fromEntries(Object.entries(body).filter(([key]) => names.includes(key)));
  }

  it.each([
    ['max_completion_tokens', '/v1/chat/completions'],
    ['max_tokens', '/v1/chat/completions'],
    ['max_output_tokens', '/v1/responses'],
  ])('is asked for with twice the %s, then with four times', async (field, endpoint) => {
    const params = { [field]: 100, temperature: 0 };
    await start([cut], { params, endpoint, max_attempts: 4 });
    for (const limit of [100, 200, 400, 800]) {
      expect(await limitsSent(struck)).toEqual({ [field]: limit });
    }
    expect(await rowFailures(world)).toMatchObject([{ key: [7], error_class: 'truncated', attempts: 4 }]);
    expect(await status(world)).toMatchObject({ enriched: 9, failed: 1 });
    // Ten at first, and three times the one.
    expect(paid(world)).toBe(13);
  });

  it('is written once it is whole, and the next row has the limit of the pipeline again', async () => {
    await start([`answer_cut@1,2;prompt=film 7`], { params: { max_completion_tokens: 100 } });
    for (const limit of [100, 200, 400]) {
      expect(await limitsSent(struck)).toEqual({ max_completion_tokens: limit });
    }
    expect(await status(world)).toMatchObject({ enriched: 10, retrying: 0, failed: 0 });
    await world.sql`update films set title = 'film 7 again' where id = 7`;
    expect(await limitsSent('Title: film 7 again')).toEqual({ max_completion_tokens: 100 });
  });

  it('is asked for with 32 times the limit at most', async () => {
    await start([cut], { params: { max_completion_tokens: 10 }, max_attempts: 8 });
    for (const limit of [10, 20, 40, 80, 160, 320, 320]) {
      expect(await limitsSent(struck)).toEqual({ max_completion_tokens: limit });
    }
  });

  it('raises the limit of its own row alone', async () => {
    await start([cut, 'request_fails@1;status=500;prompt=film 8'], {
      params: { max_completion_tokens: 100 },
    });
    await limitsSent(struck);
    await passTime(world);
    await send(world);
    const bodies = await requestBodies(world);
    expect([...bodies.keys()].sort()).toEqual([struck, spared]);
    expect(bodies.get(struck)).toMatchObject({ max_completion_tokens: 200 });
    expect(bodies.get(spared)).toMatchObject({ max_completion_tokens: 100 });
    await collect(world);
  });

  it('keeps the limit that it has reached when another fault comes in between', async () => {
    await start(['answer_cut@1;prompt=film 7', 'request_fails@2;status=500;prompt=film 7'], {
      params: { max_completion_tokens: 100 },
    });
    for (const limit of [100, 200, 200]) {
      expect(await limitsSent(struck)).toEqual({ max_completion_tokens: limit });
    }
    expect(await status(world)).toMatchObject({ enriched: 10 });
  });

  it('begins anew with the limit of the pipeline after retry_failed, and after an edit', async () => {
    await start([cut], { params: { max_completion_tokens: 100 }, max_attempts: 2 });
    await limitsSent(struck);
    await limitsSent(struck);
    await world.sql`select rowmill.retry_failed('films')`;
    expect(await limitsSent(struck)).toEqual({ max_completion_tokens: 100 });
    await world.sql`update films set title = 'film 7 again' where id = 7`;
    await world.sql`delete from rowmill.pending_keys where queued_at > now()`;
    expect(await limitsSent('Title: film 7 again')).toEqual({ max_completion_tokens: 100 });
  });

  it.each(['/v1/chat/completions', '/v1/responses'])(
    'is asked for as it was where there is no limit to raise: %s',
    async (endpoint) => {
      await start([cut], { endpoint });
      expect(await limitsSent(struck)).toEqual({});
      expect(await failures(world)).toMatchObject([{ error_class: 'truncated', attempts: 1 }]);
      expect(await limitsSent(struck)).toEqual({});
    },
  );

  it.each([
    ['/v1/chat/completions', 'max_completion_tokens'],
    ['/v1/responses', 'max_output_tokens'],
  ])('raises the limit that a budget demands as well: %s', async (endpoint, field) => {
    await start([cut], { endpoint, budget_usd: 100 });
    expect(await limitsSent(struck)).toEqual({ [field]: 4096 });
    expect(await limitsSent(struck)).toEqual({ [field]: 8192 });
  });
});
