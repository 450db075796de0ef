import { afterEach, describe, expect, it } from 'vitest';
import { queue } from '../jobs/job-world.ts';
import { insertFilms, refusal } from '../support/sql-factories.ts';
import { firstRound, type OutcomeWorld, round, send, startOutcomeWorld, why } from './outcome-world.ts';

describe('why() says in words', () => {
  let world: OutcomeWorld;
  afterEach(() => world.stop());

  it('that a row is queued, and what it waits for', async () => {
    world = await startOutcomeWorld();
    await insertFilms(world.sql, 1, 3);
    expect(await why(world, 1)).toEqual({
      state: 'pending',
      explanation: 'It is queued; a chunk forms at 1000 rows or after 00:01:00.',
      ...{ chunk_id: null, batch_id: null, attempts: null },
    });
  });

  it('that a row waits in a chunk for a worker', async () => {
    world = await startOutcomeWorld();
    await queue(world, 1, 3);
    expect(await why(world, 1)).toMatchObject({
      ...{
        state: 'waiting',
        explanation: 'It is in a chunk that waits for a worker.',
        chunk_id: 1,
        batch_id: null,
      },
    });
  });

  it('that a row waits for room, and which', async () => {
    world = await startOutcomeWorld({ pipeline: { budget_usd: '0.0000001' } });
    await queue(world, 1, 3);
    await send(world);
    const { state, explanation } = await why(world, 1);
    expect(state).toBe('waiting');
    expect(explanation).toMatch(/^It is in a chunk that waits for room\. .*the budget of "films"/);
  });

  it('that a row is in flight, and since when', async () => {
    world = await startOutcomeWorld({ simulator: { delays: { validatingMs: 60_000 } } });
    await queue(world, 1, 3);
    await send(world);
    expect(await why(world, 1)).toMatchObject({
      ...{ state: 'in_flight', chunk_id: 1, batch_id: 1 },
      explanation: expect.stringMatching(/^Its batch runs since .* \(validating\)\.$/),
    });
  });

  it('that the answer of a row is being read', async () => {
    world = await startOutcomeWorld({ faults: ['http_503:content'] });
    await firstRound(world, 3);
    expect(await why(world, 1)).toMatchObject({
      ...{ state: 'in_flight', explanation: 'Its batch has ended; the answer is being read.' },
    });
  });

  it('that a row failed and goes round, at which attempt and why', async () => {
    world = await startOutcomeWorld({ faults: ['request_fails;status=500;prompt=film 2'] });
    await firstRound(world, 3);
    await round(world);
    expect(await why(world, 2)).toMatchObject({
      ...{ state: 'pending', attempts: 2 },
      explanation: expect.stringMatching(
        /^It failed at its attempt 2 of 3 \(server_error: The server had an error.*\) and is queued again\.$/,
      ),
    });
  });

  it('that a row goes round although nothing came of sending it', async () => {
    world = await startOutcomeWorld({ faults: ['expires@1;share=0.5'] });
    await firstRound(world, 2);
    expect(await why(world, 2)).toMatchObject({
      ...{ state: 'pending', attempts: 0 },
      explanation: expect.stringMatching(
        /^It was sent in vain, which was no attempt \(batch_expired: .*\), and is queued again\.$/,
      ),
    });
  });

  it('that a row failed for good, why, and what to do', async () => {
    world = await startOutcomeWorld({ faults: ['answer_refused;prompt=film 2'] });
    await firstRound(world, 3);
    const { state, explanation, batch_id, attempts } = await why(world, 2);
    expect({ state, batch_id, attempts }).toEqual({ state: 'failed', batch_id: 1, attempts: 1 });
    expect(explanation).toMatch(
      /^It failed after one attempt, last at .*: refused: The model declined: I'm sorry, but I can't help with that\. An edit of the row/,
    );
    // What it says can be run as it stands.
    const [, statement] = /(select rowmill\.retry_failed\('films', 'refused'\))/.exec(explanation)!;
    const [row] = await world.sql.unsafe(statement!);
    expect(row!.retry_failed).toBe(1);
    expect((await why(world, 2)).state).toBe('pending');
  });

  it('that a row is enriched, gone, or was never a row', async () => {
    world = await startOutcomeWorld();
    await firstRound(world, 3);
    const nothing = { chunk_id: null, batch_id: null, attempts: null };
    expect(await why(world, 1)).toEqual({
      ...{ state: 'enriched', explanation: 'Its outputs are filled, and nothing is under way.', ...nothing },
    });
    await world.sql`delete from films where id = 1`;
    for (const key of [1, 99]) {
      expect(await why(world, key)).toMatchObject({
        state: 'gone',
        explanation: 'There is no such row in public.films.',
      });
    }
    expect(await refusal(world.sql`select * from rowmill.why('films', 'Alien')`)).toMatchObject({
      code: 'RM109',
    });
    expect(await refusal(world.sql`select * from rowmill.why('flims', '1')`)).toMatchObject({
      code: 'RM111',
    });
  });

  it('that the pipeline is paused, and why', async () => {
    world = await startOutcomeWorld({ faults: ['request_fails@1;code=insufficient_quota'] });
    await firstRound(world, 3);
    const { state, explanation } = await why(world, 1);
    expect(state).toBe('pending');
    expect(explanation).toMatch(
      /^It is queued; the pipeline is paused\. quota_exhausted: .*resume_pipeline\('films'\);$/,
    );

    await world.sql`select rowmill.resume_pipeline('films')`;
    await world.sql`select rowmill.flush('films')`;
    await world.sql`select rowmill.pause_pipeline('films', 'It is Sunday.')`;
    expect(await why(world, 1)).toMatchObject({
      ...{ state: 'waiting', explanation: 'It is in a chunk that waits for room. It is Sunday.' },
    });
    await world.sql`select rowmill.pause_pipeline('films')`;
    await insertFilms(world.sql, 4, 4);
    expect(await why(world, 4)).toMatchObject({
      explanation: 'It is queued; the pipeline is paused. resume_pipeline goes on.',
    });
  });
});
