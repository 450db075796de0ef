import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  createFilms,
  createPipeline,
  endedBatch,
  failure,
  insertFilms,
  type PipelineOptions,
  problemOf,
  queuedKeys,
  takeChunks,
  tick,
} from '../support/sql-factories.ts';

describe('forming chunks', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let tables = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
  });
  afterAll(() => database.drop());

  async function films(options: PipelineOptions = {}) {
    tables += 1;
    const name = `films_${tables}`;
    const table = `public.${name}`;
    await createFilms(sql, table);
    const id = await createPipeline(sql, { name, source: table, ...options });
    return { name, table, id };
  }

  const chunksOf = async (id: number) =>
    await sql`select id, state, row_count, keys, only_missing from rowmill.chunks where pipeline_id = ${id} order by id`;
  const sizesOf = async (id: number) => (await chunksOf(id)).map((chunk) => chunk.row_count);
  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => [from + at]);
  /** As if everything had been queued long ago. */
  const age = (id: number) =>
    sql`update rowmill.pending_keys set queued_at = queued_at - interval '1 hour' where pipeline_id = ${id}`;

  it('a full chunk forms at once, a partial one after flush_after', async () => {
    const { table, id } = await films({ chunk_size: 100, flush_after: '30 minutes' });
    await insertFilms(sql, 1, 250, table);
    await tick(sql);
    expect(await sizesOf(id)).toEqual([100, 100]);
    await age(id);
    await tick(sql);
    expect(await sizesOf(id)).toEqual([100, 100, 50]);
  });

  it('chunk_size holds, and the order of arrival, for one large statement', async () => {
    const { table, id } = await films({ chunk_size: 300 });
    await insertFilms(sql, 1, 2500, table);
    await tick(sql);
    expect(await sizesOf(id)).toEqual(Array(8).fill(300));
    expect(await queuedKeys(sql, id)).toEqual(range(1, 2500));
  });

  it('chunk_size holds, and the order of arrival, for many small statements', async () => {
    const { table, id } = await films({ chunk_size: 50 });
    for (let n = 1; n <= 330; n += 3) await insertFilms(sql, n, n + 2, table);
    await tick(sql);
    expect(await sizesOf(id)).toEqual(Array(6).fill(50));
    expect((await queuedKeys(sql, id)).sort((a, b) => Number(a[0]) - Number(b[0]))).toEqual(range(1, 330));
  });

  it('the remainder of an entry stays at the head of the queue', async () => {
    const { name, table, id } = await films({ chunk_size: 1000 });
    await insertFilms(sql, 1, 400, table);
    await insertFilms(sql, 401, 1100, table);
    await insertFilms(sql, 1101, 1200, table);
    await sql`select rowmill.flush(${name})`;
    expect(await queuedKeys(sql, id)).toEqual(range(1, 1200));
  });

  it('a key that was queued twice is sent once in a chunk', async () => {
    const { name, table, id } = await films();
    await insertFilms(sql, 1, 3, table);
    await sql.unsafe(`update ${table} set title = title || '!' where id in (1, 2)`);
    await sql`select rowmill.flush(${name})`;
    expect(await queuedKeys(sql, id)).toEqual(range(1, 3));
    expect(await sizesOf(id)).toEqual([3]);
  });

  it('a full chunk forms although a few keys of the other kind stand before it', async () => {
    const { table, id } = await films({ chunk_size: 10, flush_after: '1 day' });
    await sql`
      insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
      values (${id}, '[[1001]]', 1, true)`;
    await sql.begin('isolation level repeatable read', (tx) => insertFilms(tx, 1, 25, table));
    await tick(sql);
    expect((await chunksOf(id)).map(({ row_count, only_missing }) => ({ row_count, only_missing }))).toEqual([
      { row_count: 10, only_missing: false },
      { row_count: 10, only_missing: false },
    ]);
    expect(await queuedKeys(sql, id)).toHaveLength(26);
  });

  it('keys that wait for a retry are left until their time has come', async () => {
    const { name, table, id } = await films();
    await insertFilms(sql, 1, 1, table);
    await sql`update rowmill.pending_keys set queued_at = now() + interval '1 hour' where pipeline_id = ${id}`;
    const [row] = await sql`select rowmill.flush(${name}) as formed`;
    expect(row!.formed).toBe(0);
  });

  it('rows that were deleted or that the filter leaves out drop out when the chunk is read', async () => {
    const { name, table } = await films({ filter: "note is distinct from 'skip'" });
    await insertFilms(sql, 1, 4, table);
    await sql`select rowmill.flush(${name})`;
    await sql.unsafe(`delete from ${table} where id = 2; update ${table} set note = 'skip' where id = 3`);
    const { rows } = await takeChunks(sql, name);
    expect(rows.map(({ n, input }) => ({ n, input }))).toEqual([
      { n: 0, input: { title: 'film 1' } },
      { n: 3, input: { title: 'film 4' } },
    ]);
  });

  it('a row whose very input is in flight is not held twice; an edited one is', async () => {
    const { name, table } = await films();
    await insertFilms(sql, 1, 2, table);
    await sql`select rowmill.flush(${name})`;
    expect((await takeChunks(sql, name)).rows).toHaveLength(2);
    await sql.unsafe(`update ${table} set title = 'film' where id = 1`);
    await sql.unsafe(`update ${table} set title = 'film 2!' where id = 2`);
    await sql.unsafe(`update ${table} set title = 'film 2' where id = 2`);
    await sql`select rowmill.flush(${name})`;
    const again = await takeChunks(sql, name);
    expect(again.rows.map((row) => row.input)).toEqual([{ title: 'film' }]);
  });

  it('a row that came from a backfill of missing rows is sent only while its outputs are empty', async () => {
    const { name, table, id } = await films({ outputs: ['summary', 'score'] });
    await insertFilms(sql, 1, 3, table);
    await sql`update rowmill.pending_keys set only_missing = true where pipeline_id = ${id}`;
    await sql.unsafe(`update ${table} set summary = 'done' where id = 2`);
    await sql`select rowmill.flush(${name})`;
    expect((await takeChunks(sql, name)).rows.map((row) => row.input.title)).toEqual(['film 1', 'film 3']);
  });

  it('a chained row waits until its input is filled, and is queued by the answer', async () => {
    const { name, table } = await films();
    const second = await createPipeline(sql, {
      name: `${name}_score`,
      source: table,
      prompt: '{{summary}}',
      outputs: ['score'],
    });
    await insertFilms(sql, 1, 2, table);
    await sql`select rowmill.flush(${`${name}_score`})`;
    expect((await takeChunks(sql, `${name}_score`)).rows).toEqual([]);
    const first = await endedBatch(sql, name);
    await apply(sql, first.batchId, { answers: [answer(first.rows[0]!, 'short')] });
    await sql`select rowmill.flush(${`${name}_score`})`;
    const { rows } = await takeChunks(sql, `${name}_score`);
    expect(rows.map((row) => row.input)).toEqual([{ summary: 'short' }]);
    expect(await problemOf(sql, `${name}_score`)).toBeNull();
    expect(second).toBeGreaterThan(0);
  });

  it('a paused pipeline queues and forms nothing; resumed, it goes on', async () => {
    const { name, table, id } = await films({ chunk_size: 10 });
    await sql`select rowmill.pause_pipeline(${name})`;
    await insertFilms(sql, 1, 25, table);
    await tick(sql);
    expect(await chunksOf(id)).toHaveLength(0);
    expect(await queuedKeys(sql, id)).toHaveLength(25);
    await sql`select rowmill.resume_pipeline(${name})`;
    await tick(sql);
    expect(await sizesOf(id)).toEqual([10, 10]);
  });

  it('flush forms everything, and says how many chunks', async () => {
    const { name, table, id } = await films({ chunk_size: 10, flush_after: '1 day' });
    await sql.begin('isolation level repeatable read', (tx) => insertFilms(tx, 1, 25, table));
    const [row] = await sql`select rowmill.flush(${name}) as formed`;
    expect(row!.formed).toBe(3);
    expect(await sizesOf(id)).toEqual([10, 10, 5]);
  });

  it('four sessions that insert and eight that form make each key part of one chunk', async () => {
    const { name, table, id } = await films({ chunk_size: 20, flush_after: '0 seconds' });
    let inserting = 4;
    const insert = async (lane: number) => {
      for (let round = 0; round < 15; round += 1) {
        const from = lane * 10_000 + round * 50;
        await insertFilms(sql, from, from + 29, table);
        await sql.begin(async (tx) => {
          await insertFilms(tx, from + 30, from + 39, table);
          await insertFilms(tx, from + 40, from + 49, table);
        });
      }
      inserting -= 1;
    };
    const form = async (lane: number) => {
      while (inserting > 0) {
        await (lane % 2 ? tick(sql) : sql`select rowmill.flush(${name})`);
      }
    };
    await Promise.all([...[1, 2, 3, 4].map(insert), ...[1, 2, 3, 4, 5, 6, 7, 8].map(form)]);
    await sql`select rowmill.flush(${name})`;
    const keys = (await queuedKeys(sql, id)).map(([key]) => key);
    expect(keys).toHaveLength(4 * 15 * 50);
    expect(new Set(keys).size).toBe(keys.length);
    expect(await sql`select from rowmill.pending_keys where pipeline_id = ${id}`).toHaveLength(0);
    expect(Math.max(...(await sizesOf(id)))).toBeLessThanOrEqual(20);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it.each([
    ['output column was dropped', 'alter table public.$ drop column summary', 'summary'],
    ['input column was dropped', 'alter table public.$ drop column title cascade', 'title'],
    ['key was dropped', 'alter table public.$ drop column id cascade', 'key column'],
    ['filter column was dropped', 'alter table public.$ drop column note cascade', 'note'],
    ['table was dropped', 'drop table public.$', 'was dropped'],
  ])('a pipeline whose %s holds up no other, and says so', async (_what, statement, problem) => {
    const broken = await films({ chunk_size: 10, filter: 'note is null' });
    const sound = await films({ chunk_size: 10 });
    await sql.begin('isolation level repeatable read', async (tx) => {
      await insertFilms(tx, 1, 25, broken.table);
      await insertFilms(tx, 1, 25, sound.table);
    });
    await sql.unsafe(statement.replace('$', broken.name));
    await tick(sql);
    expect(await sizesOf(sound.id)).toEqual([10, 10]);
    expect(await problemOf(sql, broken.name)).toContain(problem);
    expect(await problemOf(sql, sound.name)).toBeNull();
    await sql`select rowmill.drop_pipeline(${broken.name})`;
    expect(await sql`select from rowmill.pipeline_status where name = ${broken.name}`).toHaveLength(0);
  });

  it('what a worker found wrong stands until a worker clears it, however well the tick goes', async () => {
    const { name, table, id } = await films({ chunk_size: 10 });
    await sql`select rowmill.note_pipeline_problem(${id}, 'the provider refuses work')`;
    await insertFilms(sql, 1, 25, table);
    await tick(sql);
    expect(await problemOf(sql, name)).toBe('the provider refuses work');
    await sql`select rowmill.note_pipeline_problem(${id}, null)`;
    expect(await problemOf(sql, name)).toBeNull();
  });

  it('drop_pipeline ends work in every state, and the name is free', async () => {
    const { name, table, id } = await films();
    const put = (n: number) => insertFilms(sql, n, n, table);
    await put(1);
    const done = await endedBatch(sql, name);
    await apply(sql, done.batchId, { failures: [failure(done.rows[0]!, { retried: false })] });
    await put(2);
    const ended = await endedBatch(sql, name);
    await put(3);
    await sql`select rowmill.flush(${name})`;
    await takeChunks(sql, name);
    await put(4);
    await sql`select rowmill.flush(${name})`;
    await put(5);
    await sql`select rowmill.backfill(${name})`;
    await sql`select rowmill.drop_pipeline(${name})`;

    for (const what of ['pending_keys', 'chunk_rows', 'failures', 'trigger_errors', 'backfills']) {
      expect(await sql`select from ${sql(`rowmill.${what}`)} where pipeline_id = ${id}`, what).toHaveLength(
        0,
      );
    }
    expect(new Set((await chunksOf(id)).map((chunk) => chunk.state))).toEqual(new Set(['done']));
    expect(await sql`select state from rowmill.batch_processing_details where id = ${ended.batchId}`).toEqual(
      [{ state: 'harvested' }],
    );
    expect(await apply(sql, ended.batchId, { answers: [answer(ended.rows[0]!, 'late')] })).toBeNull();
    await insertFilms(sql, 6, 6, table);
    await tick(sql);
    expect(await sql`select from rowmill.pending_keys where pipeline_id = ${id}`).toHaveLength(0);
    expect(await createPipeline(sql, { name, source: table })).toBeGreaterThan(id);
  });
});
