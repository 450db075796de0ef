import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  alterPipeline,
  createFilms,
  createPipeline,
  insertFilms,
  type PipelineOptions,
} from '../support/sql-factories.ts';
import { answered, createSqlWorker, type Held, type SqlWorker } from './sql-worker.ts';

describe('settling', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let worker: SqlWorker;
  let name: string;
  let id: number;
  let pipelines = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    worker = createSqlWorker(sql);
    await sql`update rowmill.settings set fetch_after = '0 seconds', retry_after = '0 seconds'`;
    // A dollar for a million tokens of input, ten cents where they are cached, four dollars of output; in a batch half.
    await sql`
      insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of)
      values ('dear', 1, 0.1, 4, '2026-11-21')`;
  });
  afterAll(() => database.drop());
  // Whatever another test left is not to be claimed here.
  beforeEach(async () => {
    await sql`select rowmill.drop_pipeline(name) from rowmill.pipeline_status`;
    pipelines += 1;
    name = `films_${pipelines}`;
    await createFilms(sql, `public.${name}`);
  });

  async function create(options: PipelineOptions = {}): Promise<void> {
    id = await createPipeline(sql, { name, source: `public.${name}`, model: 'dear', ...options });
  }
  async function insert(from: number, to: number): Promise<void> {
    await insertFilms(sql, from, to, `public.${name}`);
    await sql`select rowmill.flush(${name})`;
  }
  async function batch(batchId: number) {
    const [row] = await sql`
      select state, reserved_usd::float8 as reserved, spent_usd::float8 as spent from rowmill.batch_processing_details where id = ${batchId}`;
    return row!;
  }
  async function status() {
    const [row] = await sql`
      select waiting, in_flight, enriched, waiting_reason, estimated_usd::float8 as estimated, reserved_usd::float8 as reserved,
        spent_usd::float8 as spent
      from rowmill.pipeline_status where name = ${name}`;
    return row!;
  }
  const all = (rows: Held[]) => rows.map((row) => answered(row));
  const millions = (input: number, cached: number, output: number) => ({
    ...{ input: input * 1e6, cached: cached * 1e6, output: output * 1e6 },
  });

  it('goes by what the provider tells of the batch, whatever its lines add up to', async () => {
    await create();
    await insert(1, 2);
    const { batchId, rows } = await worker.send({ most: 50 });
    await worker.poll(batchId, 'completed', millions(2, 0, 1));
    // A file that came twice over: its lines add up to double.
    await worker.apply(batchId, { answers: all(rows), usage: millions(2, 0, 1) });
    await worker.apply(batchId, { answers: all(rows), usage: millions(2, 0, 1) });
    await worker.finish(batchId);
    expect(await batch(batchId)).toEqual({ state: 'done', reserved: 0, spent: 1 + 2 });
    expect(await status()).toMatchObject({ enriched: 2, reserved: 0, spent: 3 });
  });

  it('goes by the sum of the lines where the provider tells nothing', async () => {
    await create();
    await insert(1, 2);
    const { batchId, rows } = await worker.send({ most: 50 });
    await worker.poll(batchId, 'completed');
    for (const row of rows)
      await worker.apply(batchId, { answers: [answered(row)], usage: millions(1, 0, 0.5) });
    await worker.finish(batchId);
    expect(await batch(batchId)).toMatchObject({ spent: 1 + 2 });
  });

  it('charges cached tokens at the cached price', async () => {
    await create();
    await insert(1, 1);
    const { batchId, rows } = await worker.send({ most: 50 });
    await worker.poll(batchId, 'completed', millions(10, 4, 0));
    await worker.apply(batchId, { answers: all(rows) });
    await worker.finish(batchId);
    expect(await batch(batchId)).toMatchObject({ spent: (6 * 1 + 4 * 0.1) / 2 });
  });

  it('charges a dated model at the price of its family, and at its own where it has one', async () => {
    await create({ model: 'dear-2026-01-31' });
    await insert(1, 1);
    const first = await worker.send({ most: 50 });
    await worker.poll(first.batchId, 'completed', millions(2, 0, 0));
    await worker.finish(first.batchId);
    expect(await batch(first.batchId)).toMatchObject({ spent: 1 });

    await sql`
      insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of)
      values ('dear-2026-01-31', 3, 3, 3, '2026-11-21')`;
    await insert(2, 2);
    const second = await worker.send({ most: 50 });
    await worker.poll(second.batchId, 'completed', millions(2, 0, 0));
    await worker.finish(second.batchId);
    expect(await batch(second.batchId)).toMatchObject({ spent: 3 });
  });

  it('goes by the prices that held when the batch was sent', async () => {
    await create();
    await insert(1, 1);
    const { batchId } = await worker.send({ most: 50 });
    await sql`update rowmill.model_prices set input_usd = 1000 where model = 'dear'`;
    try {
      await worker.poll(batchId, 'completed', millions(2, 0, 0));
      await worker.finish(batchId);
      expect(await batch(batchId)).toMatchObject({ spent: 1 });
    } finally {
      await sql`update rowmill.model_prices set input_usd = 1 where model = 'dear'`;
    }
  });

  it('gives no figures for a model without a price, which runs all the same', async () => {
    await create({ model: 'nobody-knows' });
    await insert(1, 1);
    const { batchId, rows } = await worker.send({ most: 50 });
    expect(await status()).toMatchObject({ in_flight: 1, estimated: null, reserved: null });
    await worker.poll(batchId, 'completed', millions(2, 0, 0));
    await worker.apply(batchId, { answers: all(rows) });
    await worker.finish(batchId);
    expect(await batch(batchId)).toMatchObject({ spent: null });
    expect(await status()).toMatchObject({ enriched: 1, reserved: 0, spent: null });

    await sql`
      insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of)
      values ('nobody-knows', 1, 1, 1, '2026-11-21')`;
    expect(await status()).toMatchObject({ spent: 1 });
    await sql`delete from rowmill.model_prices where model = 'nobody-knows'`;
  });

  it('waits where there is a budget and no price, says so, and goes on when the price is there', async () => {
    await create({ model: 'nobody-told', budget_usd: 10 });
    await insert(1, 1);
    expect(await worker.claim()).toEqual([]);
    expect(await status()).toMatchObject({
      waiting: 1,
      waiting_reason: expect.stringMatching(/no price for nobody-told/),
    });
    await sql`
      insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of)
      values ('nobody-told', 1, 1, 1, '2026-11-21')`;
    await worker.send({ most: 50 });
    expect(await status()).toMatchObject({ waiting: 0, in_flight: 1, waiting_reason: null });
  });

  it.each([
    ['nothing was told', null],
    ['a part of its usage was told', millions(0.00001, 0, 0)],
  ])('counts what was reserved where the provider lost the batch, and %s', async (_, told) => {
    await create();
    await insert(1, 10);
    const { batchId } = await worker.send({ most: 50 });
    const { reserved } = await batch(batchId);
    expect(reserved).toBeGreaterThan(0);
    await worker.poll(batchId, 'in_progress', told);
    await sql`
      update rowmill.batch_processing_details
      set submitted_at = submitted_at - interval '2 days', gone_since = now() - interval '2 hours' where id = ${batchId}`;
    await sql`select rowmill.note_poll_problem(${batchId}, 'it is not known', true)`;
    await worker.take();
    await worker.finish(batchId);
    expect(await batch(batchId)).toEqual({ state: 'done', reserved: 0, spent: reserved });
    expect(await status()).toMatchObject({ reserved: 0, spent: reserved });
  });

  it('charges a cancelled batch for what was done', async () => {
    await create();
    await insert(1, 4);
    const { batchId, rows } = await worker.send({ most: 50 });
    await sql`select rowmill.cancel_batch(${batchId})`;
    await worker.poll(batchId, 'cancelled');
    await worker.apply(batchId, { answers: all(rows.slice(0, 1)), usage: millions(2, 0, 0) });
    await worker.finish(batchId, { class: 'batch_cancelled', counted: false });
    expect(await batch(batchId)).toMatchObject({ reserved: 0, spent: 1 });
    expect(await status()).toMatchObject({ enriched: 1, in_flight: 0, spent: 1 });
  });

  it('ends the reservation of an intent that is abandoned or rejected', async () => {
    await create({ budget_usd: 10 });
    for (const how of ['abandon', 'reject'] as const) {
      await insert(how === 'abandon' ? 1 : 11, how === 'abandon' ? 1 : 11);
      const taken = await worker.hold((await worker.claim(1)).flat());
      const begun = await worker.begin(taken, { most: 50 });
      if (begun.status !== 'begun') throw new Error(JSON.stringify(begun));
      expect((await status()).reserved).toBeGreaterThan(0);
      await worker[how](begun.batch_id);
      expect(await batch(begun.batch_id)).toMatchObject({ reserved: 0, spent: 0 });
      expect(await status()).toMatchObject({ reserved: 0, spent: 0 });
      await sql`select rowmill.pause_pipeline(${name})`;
      await sql`update rowmill.chunks set state = 'done', keys = null, waits_for = null, wait_reason = null, ended_at = now() where pipeline_id = ${id} and state = 'waiting'`;
      await sql`select rowmill.resume_pipeline(${name})`;
    }
  });

  it('is waited for before a budget is used that is younger than a batch without a limit', async () => {
    await create();
    await insert(1, 1);
    const { batchId } = await worker.send({ most: null });
    await alterPipeline(sql, name, { budget_usd: 10 });
    await insert(2, 2);
    expect(await worker.claim()).toEqual([]);
    expect(await status()).toMatchObject({
      reserved: null,
      waiting_reason: expect.stringMatching(/sent before there was the budget/),
    });
    await worker.poll(batchId, 'completed', millions(2, 0, 0));
    await worker.finish(batchId);
    expect(await worker.claim()).toHaveLength(1);
  });

  it('of a batch without a limit is waited for even where the history gives a guess', async () => {
    await create();
    await insert(1, 1);
    const first = await worker.send({ most: null });
    await worker.poll(first.batchId, 'completed', { input: 100, cached: 0, output: 20 });
    await worker.apply(first.batchId, {
      answers: all(first.rows),
      usage: { input: 100, cached: 0, output: 20 },
    });
    await worker.finish(first.batchId);
    await insert(2, 2);
    const second = await worker.send({ most: null });
    await alterPipeline(sql, name, { budget_usd: 10 });
    await insert(3, 3);
    expect(await worker.claim()).toEqual([]);
    await worker.poll(second.batchId, 'completed', millions(2, 0, 0));
    await worker.finish(second.batchId);
    expect(await worker.claim()).toHaveLength(1);
  });

  it('and beginning wait for each other in one order: neither is a victim of a deadlock', async () => {
    await create({ chunk_size: 1 });
    await insert(1, 2);
    const first = await worker.hold((await worker.claim(1)).flat());
    const second = await worker.hold((await worker.claim(1)).flat());
    const begun = await worker.begin(first, { most: 50 });
    if (begun.status !== 'begun') throw new Error(JSON.stringify(begun));
    await worker.start(begun.batch_id);
    await worker.poll(begun.batch_id, 'completed');

    // Beginning has the pipeline and waits for its chunk, while the harvest of a batch that failed goes on.
    const blocker = await sql.reserve();
    await blocker`begin`;
    await blocker`select from rowmill.chunks where id = ${second.chunkIds[0]!} for update`;
    const beginning = worker.begin(second, { most: 50 });
    await lockedBy('begin_batch');
    const finishing = worker.finish(begun.batch_id);
    await lockedBy('finish_harvest');
    await blocker`commit`;
    blocker.release();
    expect(await Promise.all([beginning, finishing])).toMatchObject([{ status: 'begun' }, undefined]);
    expect(await batch(begun.batch_id)).toMatchObject({ state: 'done' });
  });

  async function lockedBy(call: string): Promise<void> {
    await expect
      .poll(async () => {
        const rows = await sql`
          select from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock' and query like ${`%rowmill.${call}(%`}`;
        return rows.length;
      })
      .toBe(1);
  }
});
