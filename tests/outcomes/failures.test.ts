import { afterEach, describe, expect, it } from 'vitest';
import { batches, failures, queue, status } from '../jobs/job-world.ts';
import { alterPipeline, insertFilms, refusal, tick } from '../support/sql-factories.ts';
import {
  enrichedIds,
  firstRound,
  type OutcomeWorld,
  paid,
  range,
  round,
  rowFailures,
  startOutcomeWorld,
} from './outcome-world.ts';

let world: OutcomeWorld;
afterEach(() => world.stop());

const refused = 'request_fails;status=400;prompt=film 7';
const failedIds = async () => (await rowFailures(world)).map(({ key }) => key[0] as number);

/** Twenty films: 3 is refused by the model, 5 and 6 by a content filter, 7 by the provider. */
async function startWithFailures(): Promise<void> {
  world = await startOutcomeWorld({
    faults: [
      ...['answer_refused@1;prompt=film 3', 'answer_filtered@1;prompt=film 5'],
      ...['answer_filtered@1;prompt=film 6', 'request_fails@1;status=400;prompt=film 7'],
    ],
  });
  await firstRound(world, 9);
  expect(await failedIds()).toEqual([3, 5, 6, 7]);
}

describe('row_failures', () => {
  it('says of each row which it is, what happened, how often, when and in which batch', async () => {
    world = await startOutcomeWorld({ faults: ['request_fails;status=500;prompt=film 7'] });
    await firstRound(world, 9);
    await round(world);
    await round(world);
    const last = (await batches(world)).at(-1)!;
    const [hash] = await world.sql`select hash from rowmill.failures`;
    expect(await world.sql`select * from rowmill.row_failures`).toEqual([
      {
        ...{ pipeline: 'films', key: [7], error_class: 'server_error', code: 'server_error' },
        message: expect.stringContaining('server had an error'),
        ...{ attempts: 3, batch_id: last.id, input_hash: hash!.hash },
        ...{ first_at: expect.any(Date), last_at: expect.any(Date) },
      },
    ]);
    const [times] = await world.sql`select first_at < last_at as are_apart from rowmill.row_failures`;
    expect(times!.are_apart).toBe(true);
  });

  it('waits twice as long after each attempt, and an hour at most', async () => {
    world = await startOutcomeWorld({
      faults: ['request_fails;prompt=film 7;status=500'],
      pipeline: { max_attempts: 12 },
    });
    await queue(world, 7, 7);
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 10; attempt += 1) {
      await round(world);
      const [entry] = await world.sql`
        select round(extract(epoch from queued_at - now()))::integer as seconds from rowmill.pending_keys`;
      waits.push(entry!.seconds);
    }
    const promised = [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600];
    for (const [at, seconds] of promised.entries()) {
      expect(waits[at]).toBeLessThanOrEqual(seconds);
      expect(waits[at]).toBeGreaterThan(seconds - 10);
    }
  });
});

describe('retry_failed', () => {
  const retry = async (errorClass: string | null = null): Promise<number> => {
    const [row] = await world.sql`select rowmill.retry_failed('films', ${errorClass}) as rows`;
    return row!.rows;
  };

  it('queues the rows of one class, and returns how many', async () => {
    await startWithFailures();
    expect(await retry('content_filter')).toBe(2);
    expect(await failedIds()).toEqual([3, 7]);
    expect(await status(world)).toMatchObject({ pending: 2, failed: 2 });
    await round(world);
    expect(await enrichedIds(world)).toMatchObject({ without: [3, 7] });
    expect(paid(world)).toBe(8 + 2);
  });

  it('queues all of them where no class is given', async () => {
    await startWithFailures();
    expect(await retry()).toBe(4);
    await round(world);
    expect(await status(world)).toMatchObject({ enriched: 9, failed: 0, pending: 0 });
    expect(await retry()).toBe(0);
    expect(await retry('refused')).toBe(0);
  });

  it('gives them all their attempts anew', async () => {
    world = await startOutcomeWorld({ faults: ['request_fails;status=500;prompt=film 7'] });
    // The row goes round alone, and so each of its batches is a bad one.
    await firstRound(world, 9);
    await round(world);
    await round(world);
    expect(await rowFailures(world)).toMatchObject([{ attempts: 3 }]);
    expect(await retry('server_error')).toBe(1);
    await round(world);
    await round(world);
    expect(await failures(world)).toMatchObject([{ attempts: 2, is_final: false }]);
    await round(world);
    expect(await rowFailures(world)).toMatchObject([{ attempts: 3 }]);
  });

  it('refuses a class that no row has, and says which there are', async () => {
    await startWithFailures();
    const { code, message, detail, hint } = await refusal(
      world.sql`select rowmill.retry_failed('films', 'timeout')`,
    );
    expect({ code, message }).toEqual({ code: 'RM109', message: 'no row of "films" failed with timeout' });
    expect(detail).toBe('Its failures are: content_filter (2), invalid_request (1), refused (1).');
    expect(await world.sql.unsafe(hint!)).toHaveLength(3);
    expect(await failedIds()).toEqual([3, 5, 6, 7]);
  });

  it('refuses a pipeline that is not there', async () => {
    world = await startOutcomeWorld();
    expect(await refusal(world.sql`select rowmill.retry_failed('flims')`)).toMatchObject({ code: 'RM111' });
  });

  it('leaves alone what goes round by itself, and what failed elsewhere', async () => {
    world = await startOutcomeWorld({
      faults: ['request_fails;status=500;prompt=film 7', 'answer_refused;prompt=film 3'],
    });
    await firstRound(world, 9);
    expect(await retry('server_error').catch((error: Error) => error.message)).toBe(0);
    expect(await retry()).toBe(1);
    expect(await failures(world)).toMatchObject([{ key: [7], attempts: 1 }]);
  });
});

describe('a failure disappears', () => {
  it('within a tick once its row is edited, which is tried with its new input', async () => {
    await startWithFailures();
    await world.sql`update films set title = 'another film' where id = 7`;
    await tick(world.sql);
    expect(await failedIds()).toEqual([3, 5, 6]);
    await round(world);
    expect(await enrichedIds(world)).toMatchObject({ without: [3, 5, 6] });
  });

  it('within a tick once its row is deleted', async () => {
    await startWithFailures();
    await world.sql`delete from films where id in (3, 7)`;
    await tick(world.sql);
    expect(await failedIds()).toEqual([5, 6]);
  });

  it('although its pipeline was altered since', async () => {
    await startWithFailures();
    await alterPipeline(world.sql, 'films', { prompt: 'The title: {{title}}' });
    await tick(world.sql);
    expect(await failedIds()).toEqual([3, 5, 6, 7]); // they are as they were; only the prompt is not
    await world.sql`delete from films where id = 7`;
    await tick(world.sql);
    expect(await failedIds()).toEqual([3, 5, 6]);
  });

  it('although its pipeline is paused', async () => {
    await startWithFailures();
    await world.sql`select rowmill.pause_pipeline('films')`;
    await world.sql`delete from films where id = 7`;
    await tick(world.sql);
    expect(await failedIds()).toEqual([3, 5, 6]);
  });

  it('once its row succeeds, for whatever reason it was sent', async () => {
    await startWithFailures();
    await world.sql`select rowmill.backfill('films')`;
    await tick(world.sql);
    await round(world);
    expect(await failures(world)).toEqual([]);
    expect(await enrichedIds(world)).toMatchObject({ without: [] });
  });

  it('not by an edit of a column that is no input, and not by itself', async () => {
    await startWithFailures();
    await world.sql`update films set note = 'seen'`;
    for (let ticks = 0; ticks < 3; ticks += 1) await tick(world.sql);
    expect(await failedIds()).toEqual([3, 5, 6, 7]);
  });

  it('and is none of the new input: an edited row has all its attempts', async () => {
    world = await startOutcomeWorld({ faults: ['request_fails;status=500;prompt=film 7'] });
    await firstRound(world, 9);
    await round(world);
    expect(await failures(world)).toMatchObject([{ attempts: 2 }]);
    await world.sql`update films set title = 'film 7 again' where id = 7`;
    await round(world);
    expect(await failures(world)).toMatchObject([{ attempts: 1, is_final: false }]);
  });

  it('also where there are more of them than one tick looks at', async () => {
    world = await startOutcomeWorld({ faults: ['request_fails;status=400'], pipeline: { chunk_size: 5000 } });
    const films = 2500;
    await firstRound(world, films);
    expect(await status(world)).toMatchObject({ failed: films });
    await world.sql`delete from films where id % 5 = 0`;
    await world.sql`update films set title = title || ' again' where id % 5 = 1`;
    const left = range(1, films).filter((id) => id % 5 > 1);
    for (let ticks = 0; ticks < 3; ticks += 1) await tick(world.sql);
    expect(await failedIds()).toEqual(left);
    // Round and round: what was looked at before is looked at again.
    await world.sql`delete from films where id % 5 = 2`;
    for (let ticks = 0; ticks < 4; ticks += 1) await tick(world.sql);
    expect(await failedIds()).toEqual(left.filter((id) => id % 5 > 2));
  });

  it('one at a time: ticks at once forget each failure once', async () => {
    world = await startOutcomeWorld({ faults: [refused] });
    await insertFilms(world.sql, 1, 9);
    await round(world);
    await world.sql`delete from films where id = 7`;
    await Promise.all([tick(world.sql), tick(world.sql), tick(world.sql)]);
    expect(await failedIds()).toEqual([]);
  });
});
