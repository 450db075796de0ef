import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { answered, createSqlWorker, type SqlWorker } from '../money/sql-worker.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  beginBatch,
  createFilms,
  createPipeline,
  insertFilms,
  type PipelineOptions,
} from '../support/sql-factories.ts';

const most = 1e15;
const mostInteger = 2 ** 31 - 1;
/** What a provider or a proxy may write where a count belongs, and what is made of it; null: not told. */
const absurd: [value: number | string | boolean | object | null, count: number | null][] = [
  [1e300, most],
  [1e19, most],
  [9e18, most],
  [-1, 0],
  [1.5, 1],
  ['12', null],
  [{}, null],
  [[], null],
  [true, null],
  [null, null],
];

describe('a number that somebody else made up', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let worker: SqlWorker;
  let name: string;
  let pipelines = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    worker = createSqlWorker(sql);
    await sql`update rowmill.settings set fetch_after = '0 seconds', retry_after = '0 seconds', repost_after = '0 seconds'`;
  });
  afterAll(() => database.drop());
  // Whatever another test left is not to be claimed here.
  beforeEach(async () => {
    await sql`select rowmill.drop_pipeline(name) from rowmill.pipeline_status`;
    await sql`truncate rowmill.model_limits, rowmill.model_states`;
    pipelines += 1;
    name = `films_${pipelines}`;
  });

  async function create(options: PipelineOptions = {}, table = name): Promise<void> {
    await createFilms(sql, `public.${table}`);
    await createPipeline(sql, { name: table, source: `public.${table}`, ...options });
  }
  async function insert(from: number, to: number, table = name): Promise<void> {
    await insertFilms(sql, from, to, `public.${table}`);
    await sql`select rowmill.flush(${table})`;
  }
  const record = (polls: unknown[]) => sql`
    select batch_id, state from rowmill.record_polls(${JSON.stringify(polls)}::text::jsonb) order by batch_id`;
  /** A poll of a batch that has ended, in which each count is the same. */
  const poll = (batchId: number, count: unknown) => ({
    ...{ batch_id: batchId, provider_status: 'completed', is_terminal: true, output_file_id: 'out' },
    ...{ error_file_id: null, requests_completed: count, requests_failed: count, provider_errors: null },
    ...{ input_tokens: count, cached_tokens: count, output_tokens: count },
  });

  it('is clamped, and is null where it is no number', async () => {
    for (const [value, count] of absurd) {
      const [row] =
        await sql`select rowmill.count_or_null(${JSON.stringify(value)}::text::jsonb)::float8 as count`;
      expect(row!.count, JSON.stringify(value)).toBe(count);
    }
    const [row] = await sql`
      select rowmill.clamped('NaN') as nan, rowmill.clamped(null) as nothing, rowmill.clamped(5, most => 3) as beyond`;
    expect(row).toEqual({ nan: 0, nothing: null, beyond: 3 });
  });

  it('is no other batch’s trouble where polls are recorded', async () => {
    await create({ chunk_size: 1 });
    await insert(1, 2 * absurd.length);
    const batchIds: number[] = [];
    for (let at = 0; at < 2 * absurd.length; at += 1) batchIds.push((await worker.send()).batchId);
    const counts = absurd.flatMap(([value], at) => [value, at + 1]);
    const recorded = await record(batchIds.map((id, at) => poll(id, counts[at])));
    expect(recorded).toEqual(batchIds.map((id) => ({ batch_id: id, state: 'ended' })));

    const batches = await sql`
      select requests_completed as completed, requests_failed as failed, reported_input_tokens::float8 as input,
        reported_cached_tokens::float8 as cached, reported_output_tokens::float8 as output
      from rowmill.batch_processing_details where id = any (${sql.array(batchIds, 20)}) order by id`;
    const told = (count: number | null) => {
      // Of requests, what was there before stays.
      const requests = count === null ? 0 : Math.min(count, mostInteger);
      return { completed: requests, failed: requests, input: count, cached: count, output: count };
    };
    expect(batches).toEqual(absurd.flatMap(([, count], at) => [told(count), told(at + 1)]));
  });

  it('is no other batch’s trouble where those of a dropped pipeline are settled', async () => {
    await create({ chunk_size: 1, model: 'gpt-4o-mini' });
    await insert(1, absurd.length);
    const batchIds: number[] = [];
    for (const _ of absurd) batchIds.push((await worker.send()).batchId);
    await sql`select rowmill.drop_pipeline(${name})`;
    const recorded = await record(batchIds.map((id, at) => poll(id, absurd[at]![0])));
    expect(recorded).toEqual(batchIds.map((id) => ({ batch_id: id, state: 'harvested' })));
    const batches = await sql`
      select reported_input_tokens::float8 as input, spent_usd is not null as is_known
      from rowmill.batch_processing_details where id = any (${sql.array(batchIds, 20)}) order by id`;
    expect(batches).toEqual(absurd.map(([, count]) => ({ input: count, is_known: true })));
  });

  it('is what the lines say where one of the batch’s three figures is no number', async () => {
    await sql`
      insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of)
      values ('dear', 2, 2, 2, '2026-11-21')`;
    await create({ model: 'dear' });
    await insert(1, 1);
    const { batchId } = await worker.send();
    await record([{ ...poll(batchId, 1e6), cached_tokens: 'none' }]);
    await worker.take();
    await worker.apply(batchId, { usage: { input: 5, cached: 0, output: 5 } });
    await worker.finish(batchId);
    const [row] =
      await sql`select spent_usd::float8 as spent from rowmill.batch_processing_details where id = ${batchId}`;
    expect(row!.spent).toBe(2);
  });

  it('stops neither its own pipeline nor another, however many tokens a batch is said to have taken', async () => {
    const other = `${name}_other`;
    await create({ chunk_size: 10_000 });
    await create({ chunk_size: 10_000 }, other);
    await insert(1, 1);
    const { batchId, rows } = await worker.send({ tokens: 10 });
    await record([poll(batchId, most)]);
    await worker.take();
    await worker.apply(batchId, { answers: rows.map((row) => answered(row)) });
    await worker.finish(batchId);

    // Not one of these goes where a factor of 10^14 meets ten thousand rows, and the sum has to be a bigint.
    await insert(2, 10_001);
    await insert(1, 10_000, other);
    const [own] = await sql`
      select input_tokens::float8 as input, output_tokens::float8 as output from rowmill.preview_cost(${name}, 10000, 1000000, null)`;
    expect(own).toEqual({ input: most, output: most });
    const [others] =
      await sql`select input_tokens::float8 as input from rowmill.preview_cost(${other}, 10000, 1000000, null)`;
    expect(others).toEqual({ input: 1_000_000 });
    const rooms = await sql`
      select (r).code, (r).tokens from (select rowmill.room_for(id) as r from rowmill.pipelines where state = 'active') as p`;
    expect(rooms).toEqual([
      { code: null, tokens: null },
      { code: null, tokens: null },
    ]);

    const claimed = await worker.claim();
    expect(claimed).toHaveLength(2);
    for (const chunkIds of claimed) {
      const options = { key: `key of ${chunkIds[0]}`, requests: 10_000, rawInputTokens: 1_000_000 };
      expect(await beginBatch(sql, chunkIds, options)).toMatchObject({ status: 'begun' });
    }
    const reserved = await sql`
      select reserved_tokens::float8 as tokens from rowmill.batch_processing_details where state = 'preparing' order by 1`;
    expect(reserved).toEqual([{ tokens: 1_250_000 }, { tokens: most }]);
    const status = await sql`
      select name, open_batches, input_tokens::float8 as input from rowmill.pipeline_status order by name`;
    expect(status).toEqual([
      { name, open_batches: 1, input: most },
      { name: other, open_batches: 1, input: 0 },
    ]);
  });

  it('fills a model’s queue, and no more than that', async () => {
    await create({ chunk_size: 1 });
    await insert(1, 3);
    await worker.send();
    await worker.send();
    await sql`insert into rowmill.model_limits (model, enqueued_tokens) values ('gpt-4o-mini', 1000)`;
    await sql`update rowmill.batch_processing_details set reserved_tokens = 9000000000000000000 where state = 'running'`;
    expect(await worker.claim()).toEqual([]);
    const [left] =
      await sql`select tokens_left::float8 as left, in_queue::float8 as in_queue from rowmill.tokens_left('gpt-4o-mini')`;
    expect(left).toEqual({ left: 1000 - most, in_queue: most });
  });

  it('teaches about a queue what can be counted', async () => {
    await sql`select rowmill.note_full_queue('any', 9000000000000000000)`;
    const learned = async () =>
      (await sql`select learned_tokens::float8 as learned from rowmill.model_states`)[0]!.learned;
    expect(await learned()).toBe(0.7 * most);
    await sql`select rowmill.note_room_in_queue('any', 9000000000000000000)`;
    expect(await learned()).toBe(most);
    for (let batch = 0; batch < 4; batch += 1) {
      await sql`select rowmill.note_room_in_queue('any', 9000000000000000000)`;
    }
    expect(await learned()).toBe(most);
  });

  it('is no other chunk’s trouble where chunks are given back', async () => {
    await create({ chunk_size: 1 });
    await insert(1, absurd.length + 1);
    const chunkIds = (await worker.claim()).flat();
    const figures = [...absurd, [7, 7] as const];
    const chunks = chunkIds.map((c, at) => {
      const value = figures[at]![0];
      return { c, requests: value, raw_input_tokens: value, max_output_tokens: value, bytes: value };
    });
    const [held] = await sql`
      select rowmill.hold_back_chunks('w', 'budget', 'no money', ${JSON.stringify(chunks)}::text::jsonb) as count`;
    expect(held!.count).toBe(figures.length);
    const kept = await sql`
      select requests, raw_input_tokens::float8 as input, max_output_tokens::float8 as output, bytes::float8 as bytes
      from rowmill.chunks where id = any (${sql.array(chunkIds, 20)}) order by id`;
    expect(kept).toEqual(
      figures.map(([, count]) => ({
        requests: count === null ? null : Math.min(count, mostInteger),
        input: count,
        output: count,
        bytes: count,
      })),
    );
    expect((await worker.claim()).flat().sort((one, two) => one - two)).toEqual(chunkIds);
  });

  it('of requests may be nought in a chunk that finds no room', async () => {
    await create({ budget_usd: 1, params: { max_completion_tokens: 10 } });
    await insert(1, 1);
    const chunkIds = (await worker.claim()).flat();
    await sql`select rowmill.hold_back_chunks('w', 'budget', 'no money', ${sql.json(
      chunkIds.map((c) => ({ c, requests: -1, raw_input_tokens: 1e15, max_output_tokens: 1e15, bytes: 1 })),
    )})`;
    await sql`update rowmill.settings set repost_after = '1 hour'`;
    expect((await worker.claim()).flat()).toEqual(chunkIds);
    await sql`update rowmill.settings set repost_after = '0 seconds'`;
  });

  it('costs what it costs, whatever the difference of two of them is', async () => {
    const [row] = await sql`
      select rowmill.cost_usd(rowmill.price_of('gpt-4o-mini'), 9000000000000000000, -9000000000000000000, 0) > 0 as costs`;
    expect(row!.costs).toBe(true);
  });

  it('of an id may be too long for an index: it is refused, and the next one is recorded', async () => {
    await create();
    await insert(1, 1);
    const taken = await worker.hold((await worker.claim()).flat());
    const begun = await worker.begin(taken);
    if (begun.status !== 'begun') throw new Error(JSON.stringify(begun));
    const start = async (id: string) =>
      (await sql`select rowmill.start_batch(${begun.batch_id}, ${id}, 'in_progress', 'file') as result`)[0]!
        .result;
    const longest = '😀'.repeat(256);
    for (const id of ['', `${longest}.`, randomBytes(3000).toString('hex')]) {
      await expect(start(id)).rejects.toMatchObject({ code: '22023' });
    }
    expect(await start(longest)).toBe('started');
  });
});
