import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ApiError } from '../../src/simulator/errors.ts';
import type { Faults } from '../../src/simulator/faults.ts';
import { createFilms, createPipeline, type PipelineOptions } from '../support/sql-factories.ts';
import { type Moment, type MoneyWorld, observed, race, randomOf, startMoneyWorld } from './money-world.ts';

const runs = 50;
const rowsPerRun = 48;
const model = 'gpt-4o-mini';
// 7 cents a row, and $3.30 for all of a run's.
const price = { input: 2000, output: 3200 };
const rounding = 1e-9;

let seed = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000);
let slowness = 0;
let refusals = 0;
let random = randomOf(seed);
const faults: Faults = {
  async beforeReply({ method, path }) {
    if (slowness > 0) await pause(random() * slowness);
    // Turned away: the reservation ends, and the same work is reserved anew later.
    const isRefused = method === 'POST' && path === '/v1/batches' && random() < refusals;
    return isRefused ? new ApiError(429, 'too fast', { code: 'rate_limit_exceeded' }) : undefined;
  },
  stays: () => random() * slowness * 3,
};

function begin(runSeed: number): void {
  seed = runSeed;
  random = randomOf(runSeed);
  slowness = random() * 8;
  refusals = random() < 0.3 ? 0.2 : 0;
}

describe('eight workers racing on', () => {
  let world: MoneyWorld;
  const start = async () => {
    world = await startMoneyWorld({ workers: 8, simulator: { faults } });
    await world.sql`
      update rowmill.model_prices
      set input_usd = ${price.input}, cached_input_usd = ${price.input}, output_usd = ${price.output}
      where model = ${model}`;
    // What the provider turned away is tried again at once: pipelines.wait_until is half a minute otherwise.
    await world.sql`update rowmill.settings set max_output_tokens = 60, fetch_after = '1 millisecond'`;
  };

  async function createRun(name: string, options: PipelineOptions, rows = rowsPerRun): Promise<number> {
    const table = `public.${name}`;
    await createFilms(world.sql, table);
    const id = await createPipeline(world.sql, {
      ...{ name, source: table, chunk_size: 2 + Math.floor(random() * 5), flush_after: '0 seconds' },
      // Without it, settings.max_output_tokens holds.
      params: random() < 0.5 ? { max_completion_tokens: 45 } : {},
      ...options,
    });
    await world.sql.unsafe(
      `insert into ${table} (id, title) select n, '${name}: film ' || n from generate_series(1, ${rows}) as n`,
    );
    return id;
  }

  /** Nothing is under way, and of what is left not one row fits. */
  async function isSpent(pipelineIds: number[]): Promise<boolean> {
    const [row] = await world.sql`
      select
        (select count(*) from rowmill.pending_keys where pipeline_id = any (${pipelineIds}))
        + (select count(*) from rowmill.chunks where pipeline_id = any (${pipelineIds}) and state = 'accepted')
        + (select count(*) from rowmill.batch_processing_details where pipeline_id = any (${pipelineIds}) and state not in ('done', 'abandoned'))
        as under_way,
        (select max((rowmill.room_for(id)).usd)::float8 from rowmill.pipelines where id = any (${pipelineIds})) as room`;
    // Without a figure, it is not the budget that it waits for.
    return row!.under_way === 0 && row!.room !== null && row!.room < (await costOfOneMore(pipelineIds));
  }

  /** What the cheapest of the rows that wait would have to reserve. */
  async function costOfOneMore(pipelineIds: number[]): Promise<number> {
    const [row] = await world.sql`
      select min(f.most_usd / c.requests)::float8 as usd
      from rowmill.chunks as c
      cross join lateral rowmill.forecast_of(
        rowmill.history_of(c.pipeline_id), rowmill.price_of(${model}), c.requests, c.raw_input_tokens, c.max_output_tokens
      ) as f
      where c.pipeline_id = any (${pipelineIds}) and c.state = 'waiting' and c.requests is not null`;
    return row!.usd;
  }

  async function moneyOf(pipelineId: number | null, day: string | null = null) {
    const [row] = await world.sql`
      select reserved_usd::float8 as reserved, spent_usd::float8 as spent from rowmill.money_of(${pipelineId}, ${day}::text::date)`;
    return row as unknown as { reserved: number; spent: number };
  }

  function expectKept(moments: Moment[], budget: number): number {
    const most = Math.max(...moments.map(({ money }) => money));
    expect(most).toBeLessThanOrEqual(budget + rounding);
    for (const { money, batches } of moments) expect(batches).toBeCloseTo(money, 9);
    return most;
  }

  describe('a budget of $1.00', () => {
    beforeAll(start);
    afterAll(() => world.stop());

    it('actual plus reserved never passes it, at any observed moment, over 50 runs with random timing', async () => {
      const first = seed;
      const most: number[] = [];
      const spent: number[] = [];
      let moments = 0;
      let run = 0;
      const startedAt = performance.now();
      try {
        for (; run < runs; run += 1) {
          begin(first + run);
          const id = await createRun(`run_${run}`, { budget_usd: 1 });
          const seen = await observed(world.sql, id, () => race(world, random, () => isSpent([id])));
          moments += seen.length;
          most.push(expectKept(seen, 1));

          const money = await moneyOf(id);
          expect(money.reserved).toBe(0);
          expect(money.spent + (await costOfOneMore([id]))).toBeGreaterThan(1);
          const [status] =
            await world.sql`select * from rowmill.pipeline_status where name = ${`run_${run}`}`;
          expect(status).toMatchObject({ in_flight: 0, failed: 0, retrying: 0, problem: null });
          // Rows that were cut off an intent that was then turned away are queued twice, and sent once.
          const [rest] = await world.sql`
            select count(distinct k.key)::integer as rows
            from rowmill.chunks as c cross join jsonb_array_elements(c.keys) as k(key)
            join ${world.sql(`run_${run}`)} as f on f.id = (k.key ->> 0)::bigint
            where c.pipeline_id = ${id} and c.state = 'waiting' and f.summary is null`;
          expect(status!.enriched + rest!.rows).toBe(rowsPerRun);
          expect(status!.waiting_reason).toMatch(/budget of "run_\d+"/);
          spent.push(money.spent);
          await world.sql`select rowmill.drop_pipeline(${`run_${run}`})`;
        }
      } catch (error) {
        throw new Error(`run ${run}, TEST_SEED=${seed}: ${(error as Error).message}`, { cause: error });
      }
      expect(world.simulator.ledger.summary()).toMatchObject({ repeatedPrompts: 0, unexplainedRepeats: 0 });
      expect(world.errors).toEqual([]);
      const ms = Math.round(performance.now() - startedAt);
      console.log(
        `${runs} runs in ${ms} ms, ${moments} moments, ${world.simulator.ledger.batchesCreated} batches;` +
          ` actual + reserved at most ${Math.max(...most)}, spent ${Math.min(...spent)} to ${Math.max(...spent)}`,
      );
    }, 180_000);
  });

  describe('other budgets', () => {
    beforeAll(start);
    afterEach(async () => {
      await world.sql`update rowmill.settings set budget_usd = null`;
      await world.sql`select rowmill.drop_pipeline(name) from rowmill.pipeline_status`;
    });
    afterAll(() => world.stop());

    it('a budget that all pipelines share is kept by both together', async () => {
      begin(seed + 1);
      await world.sql`update rowmill.settings set budget_usd = 1`;
      const ids = [await createRun('shared_a', {}), await createRun('shared_b', {})];
      const moments = await observed(world.sql, null, () => race(world, random, () => isSpent(ids)));
      const most = expectKept(moments, 1);
      const { reserved, spent } = await moneyOf(null);
      expect(reserved).toBe(0);
      expect(spent + (await costOfOneMore(ids))).toBeGreaterThan(1);
      const status =
        await world.sql`select enriched, waiting_reason from rowmill.pipeline_status order by name`;
      expect(status).toMatchObject([
        { waiting_reason: expect.stringContaining("the installation's budget") },
        { waiting_reason: expect.stringContaining("the installation's budget") },
      ]);
      expect(status.reduce((sum, { enriched }) => sum + enriched, 0)).toBeGreaterThan(0);
      expect(world.simulator.ledger.summary()).toMatchObject({ repeatedPrompts: 0 });
      console.log(`shared: at most ${most}, spent ${spent}`);
    });

    it('a daily budget goes on when the day turns, and a budget when it is raised', async () => {
      begin(seed + 2);
      const id = await createRun('daily', { daily_budget_usd: 1 });
      const today = new Date().toISOString().slice(0, 10);
      const spend = () => race(world, random, () => isSpent([id]));
      expectKept(await observed(world.sql, id, spend, today), 1);
      const [status] =
        await world.sql`select enriched, waiting_reason from rowmill.pipeline_status where name = 'daily'`;
      expect(status!.waiting_reason).toMatch(/today's budget of "daily".*midnight/);
      const firstDay = (await moneyOf(id)).spent;

      // The day turns: what was of today is of yesterday.
      await world.sql.begin(async (transaction) => {
        await transaction`update rowmill.spending set day = day - 1 where pipeline_id = ${id}`;
        await transaction`update rowmill.batch_processing_details set reserved_on = reserved_on - 1 where pipeline_id = ${id}`;
      });
      expect(await moneyOf(id, today)).toEqual({ reserved: 0, spent: 0 });
      const spendMore = () =>
        race(world, random, async () => (await isSpent([id])) && (await moneyOf(id)).spent > firstDay);
      expectKept(await observed(world.sql, id, spendMore, today), 1);
      const [turned] = await world.sql`select enriched from rowmill.pipeline_status where name = 'daily'`;
      expect(turned!.enriched).toBeGreaterThan(status!.enriched);

      // Another limit, and enough for the rest.
      await world.sql`update rowmill.pipelines set daily_budget_usd = null, budget_usd = 10 where id = ${id}`;
      await race(world, random, async () => {
        const [now] =
          await world.sql`select enriched, open_batches from rowmill.pipeline_status where name = 'daily'`;
        return now!.enriched === rowsPerRun && now!.open_batches === 0;
      });
      const [done] =
        await world.sql`select waiting, waiting_reason from rowmill.pipeline_status where name = 'daily'`;
      expect(done).toEqual({ waiting: 0, waiting_reason: null });
      expect(world.simulator.ledger.summary()).toMatchObject({ repeatedPrompts: 0 });
      expect(world.errors).toEqual([]);
    });
  });
});
