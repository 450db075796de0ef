import type postgres from 'postgres';
import { afterEach, describe, expect, it } from 'vitest';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import { settled, startWorld, type World, waitFor } from '../support/service.ts';
import { createFilms, createPipeline, insertFilms, type PipelineOptions } from '../support/sql-factories.ts';

const model = 'gpt-4o-mini';
const dated = 'gpt-4o-mini-2024-07-18';

describe('a model whose queue at the provider is limited', () => {
  let world: World;
  let watched: Watched | null = null;
  afterEach(async () => {
    await watched?.end();
    watched = null;
    await world.stop();
  });

  /** A service that looks every second, and otherwise when a job wakes another. */
  async function start(simulator: SimulatorOptions): Promise<void> {
    world = await startWorld({ simulator });
    watched = watch(world.sql);
  }

  /** What one row of a pipeline like these takes, as the provider counts. */
  async function tokensPerRow(): Promise<number> {
    const probe = await startWorld();
    try {
      await create(probe.sql, 'probe');
      await insertFilms(probe.sql, 1, 100, 'public.probe');
      await settled(probe.sql, 'probe');
      return probe.simulator.ledger.inputTokens / 100;
    } finally {
      await probe.stop();
    }
  }

  async function create(sql: postgres.Sql, name: string, options: PipelineOptions = {}): Promise<number> {
    await createFilms(sql, `public.${name}`);
    return await createPipeline(sql, {
      ...{ name, source: `public.${name}`, model, flush_after: '0 seconds', prompt: `${name}: {{title}}` },
      ...options,
    });
  }

  async function expectEnrichedOnce(rows: number): Promise<void> {
    const [row] = await world.sql`
      select
        (select sum(enriched)::integer from rowmill.pipeline_status) as enriched,
        (select sum(failed + retrying)::integer from rowmill.pipeline_status) as failed`;
    expect(row).toEqual({ enriched: rows, failed: 0 });
    expect(watched!.failures).toBe(0);
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: rows, repeatedPrompts: 0, failed: 0 });
  }

  /** Batches whose rows were answered. */
  async function packing() {
    const [row] = await world.sql`
      select
        count(*) filter (where rows_enriched > 0)::integer as batches,
        coalesce(avg(rows_enriched) filter (where rows_enriched > 0), 0)::float8 as mean,
        count(*) filter (where provider_status = 'failed')::integer as turned_away
      from rowmill.batch_processing_details`;
    return row as unknown as { batches: number; mean: number; turned_away: number };
  }

  it('takes 100,000 rows a twentieth at a time: each is paid for once, and no attempt is counted', async () => {
    const rows = Number(process.env.TEST_ROWS ?? 100_000);
    const limit = Math.ceil(((await tokensPerRow()) * rows) / 20);
    await start({ enqueuedTokens: limit, delays: { finalizingMs: 300 } });
    await world.sql`insert into rowmill.model_limits (model, enqueued_tokens) values (${model}, ${limit})`;
    await create(world.sql, 'films');
    const startedAt = performance.now();
    await insertFilms(world.sql, 1, rows);
    await settled(world.sql, 'films', 150_000);
    const ms = Math.round(performance.now() - startedAt);

    const { batches, mean, turned_away: turnedAway } = await packing();
    const peak = world.simulator.enqueuedPeak()[dated]!;
    console.log(
      `${rows} rows in ${ms} ms: ${batches} batches of ${Math.round(mean)} rows, ${turnedAway} turned away,` +
        ` ${peak} of ${limit} tokens at most`,
    );
    await expectEnrichedOnce(rows);
    expect(peak).toBeLessThanOrEqual(limit);
    expect(mean).toBeGreaterThanOrEqual(rows / 40);
  }, 180_000);

  it('is not known to be: the provider says so, the rows go round again uncounted, and less is sent at a time', async () => {
    const rows = 5000;
    const limit = Math.ceil(((await tokensPerRow()) * rows) / 5);
    // Long enough that the fifth batch comes while four are in the queue, on a slow machine, too.
    await start({ enqueuedTokens: limit, delays: { finalizingMs: 3000 } });
    await world.sql`update rowmill.settings set retry_after = '300 milliseconds'`;
    await create(world.sql, 'films', { chunk_size: 250 });
    await insertFilms(world.sql, 1, rows);
    await settled(world.sql, 'films', 90_000);

    const { batches, mean, turned_away: turnedAway } = await packing();
    const [state] =
      await world.sql`select learned_tokens::float8 as learned, strikes from rowmill.model_states where model = ${model}`;
    console.log(
      `unknown limit: ${batches} batches of ${Math.round(mean)} rows, ${turnedAway} turned away, learned ${state?.learned} of ${limit}`,
    );
    await expectEnrichedOnce(rows);
    expect(turnedAway).toBeGreaterThan(0);
    expect(state!.learned).toBeGreaterThan(0);
    expect(world.simulator.enqueuedPeak()[dated]).toBeLessThanOrEqual(limit);
  }, 120_000);

  it('is shared fairly: of two pipelines neither is far ahead of the other', async () => {
    const rows = 3000;
    const limit = Math.ceil(((await tokensPerRow()) * rows) / 5);
    await start({ enqueuedTokens: limit, delays: { finalizingMs: 100 } });
    await world.sql`insert into rowmill.model_limits (model, enqueued_tokens) values (${model}, ${limit})`;
    for (const name of ['first', 'second']) await create(world.sql, name, { chunk_size: 200 });
    await insertFilms(world.sql, 1, rows, 'public.first');
    await insertFilms(world.sql, 1, rows, 'public.second');
    const shares: [number, number][] = [];
    await waitFor(
      'both are enriched',
      async () => {
        const [first, second] = await world.sql`select enriched from rowmill.pipeline_status order by name`;
        shares.push([first!.enriched / rows, second!.enriched / rows]);
        return first!.enriched + second!.enriched === 2 * rows;
      },
      90_000,
    );
    await settled(world.sql, 'first');
    await settled(world.sql, 'second');
    await expectEnrichedOnce(2 * rows);
    for (const [first, second] of shares) {
      if (Math.max(first, second) > 0.8) expect(Math.min(first, second)).toBeGreaterThanOrEqual(0.2);
    }
    const apart = Math.max(...shares.map(([first, second]) => Math.abs(first - second)));
    console.log(`two pipelines: ${Math.round(apart * 100)} % apart at most`);
  }, 120_000);

  it('has its batches an hour limited: what is beyond waits, is packed, and goes on when the hour has turned', async () => {
    await start({ batchesPerHour: 1000 });
    const { sql } = world;
    await sql`update rowmill.settings set batches_per_hour = 10`;
    await create(sql, 'films', { chunk_size: 20 });
    await insertFilms(sql, 1, 200);
    await settled(sql, 'films');
    const before = world.simulator.ledger.batchesCreated;
    expect(before).toBeLessThanOrEqual(10);
    await insertFilms(sql, 201, 800);
    await waitFor('the hour is full', async () => {
      const [row] = await sql`select in_flight, waiting, waiting_reason from rowmill.pipeline_status`;
      const isFull = /10 batches were created within the last hour/.test(row!.waiting_reason ?? '');
      return row!.in_flight === 0 && (isFull || row!.waiting === 0) && row;
    });
    expect(world.simulator.ledger.batchesCreated).toBeLessThanOrEqual(10);
    await sql`update rowmill.batch_processing_details set created_at = created_at - interval '1 hour'`;
    await settled(sql, 'films');
    await expectEnrichedOnce(800);
    const { batches, mean } = await packing();
    console.log(`rate: ${batches} batches of ${mean} rows`);
    expect(world.simulator.ledger.batchesCreated).toBeLessThanOrEqual(20);
  });
});

type Watched = { failures: number; end(): Promise<void> };

/** The most rows that ever stood in `failures`. */
function watch(sql: postgres.Sql): Watched {
  let over = false;
  const watched: Watched = {
    failures: 0,
    async end() {
      over = true;
      await watching;
    },
  };
  const watching = (async () => {
    while (!over) {
      const [row] = await sql`select count(*)::integer as rows from rowmill.failures`;
      watched.failures = Math.max(watched.failures, row!.rows);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return watched;
}
