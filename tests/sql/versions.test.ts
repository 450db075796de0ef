import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  alterPipeline,
  answer,
  apply,
  createFilms,
  createPipeline,
  emptyQueue,
  endBatch,
  endedBatch,
  failure,
  insertFilms,
  queuedKeys,
  startBatch,
  takeChunks,
} from '../support/sql-factories.ts';

describe('answers of several versions', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let id: number;
  let name: string;
  let table: string;
  let tables = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    tables += 1;
    name = `films_${tables}`;
    table = `public.${name}`;
    await createFilms(sql, table);
    id = await createPipeline(sql, { name, source: table });
    await insertFilms(sql, 1, 2, table);
  });

  const none = { enriched: 0, stale: 0, gone: 0, failed: 0, duplicate: 0, unknown: 0 };
  const films = async () => await sql.unsafe(`select summary, score, note from ${table} order by id`);
  const kept = async () =>
    await sql`select key, version from rowmill.row_versions where pipeline_id = ${id} order by key`;
  /** Every row once more, in a batch that has ended. */
  async function again() {
    await sql`insert into rowmill.pending_keys (pipeline_id, keys, row_count) values (${id}, '[[1], [2]]', 2)`;
    return await endedBatch(sql, name);
  }
  const write = (batch: Awaited<ReturnType<typeof again>>, ...values: string[]) =>
    apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, ...values)) });

  it('those of a pipeline that was never altered leave no trace of it', async () => {
    expect(await write(await endedBatch(sql, name), 'first')).toMatchObject({ enriched: 2 });
    expect(await kept()).toEqual([]);
  });

  it('an older one is written where no newer has come, into what its own version fills', async () => {
    const first = await endedBatch(sql, name);
    await alterPipeline(sql, name, { outputs: ['score'] });
    expect(await write(first, 'first')).toEqual({ ...none, enriched: 2 });
    expect(await films()).toMatchObject([{ summary: 'first', score: null }, { summary: 'first' }]);
    expect(await kept()).toMatchObject([{ version: 1 }, { version: 1 }]);
  });

  it('an older one is never written over a newer one: it counts as stale, and asks for nothing', async () => {
    const first = await endedBatch(sql, name);
    await alterPipeline(sql, name, { model: 'x' });
    const second = await again();
    expect(second.rows).toHaveLength(2);
    expect(await write(second, 'second')).toEqual({ ...none, enriched: 2 });
    expect(await kept()).toMatchObject([{ version: 2 }, { version: 2 }]);
    await emptyQueue(sql, id);
    expect(await write(first, 'first')).toEqual({ ...none, stale: 2 });
    expect(await films()).toMatchObject([{ summary: 'second' }, { summary: 'second' }]);
    expect(await queuedKeys(sql, id)).toEqual([]);
    expect(await sql`select from rowmill.chunk_rows where pipeline_id = ${id}`).toHaveLength(0);
  });

  it('a newer one is written over an older one', async () => {
    const first = await endedBatch(sql, name);
    await alterPipeline(sql, name, { model: 'x' });
    const second = await again();
    await write(first, 'first');
    expect(await write(second, 'second')).toEqual({ ...none, enriched: 2 });
    expect(await films()).toMatchObject([{ summary: 'second' }, { summary: 'second' }]);
  });

  it('of two that are written at once the newer stays, whichever began first', async () => {
    for (const olderFirst of [true, false]) {
      const older = await again();
      await alterPipeline(sql, name, { model: `model-${olderFirst}` });
      const newer = await again();
      const [begins, follows] = olderFirst ? [older, newer] : [newer, older];
      const values = (batch: typeof older) => (batch === newer ? `newer ${olderFirst}` : 'older');
      let second: Promise<unknown> | undefined;
      await sql.begin(async (tx) => {
        await apply(tx, begins.batchId, { answers: begins.rows.map((row) => answer(row, values(begins))) });
        second = write(follows, values(follows));
        // It waits for the first, or is through with nothing: give it the time to do so.
        await tx`select pg_sleep(0.2)`;
      });
      await second;
      const expected = { summary: `newer ${olderFirst}` };
      expect(await films()).toMatchObject([expected, expected]);
    }
  });

  it('an older one waits for a newer one that has written some of its rows, and is refused', async () => {
    await sql.unsafe(`
      create function public.dawdle_${tables}() returns trigger language plpgsql as
        $$ begin if new.summary = 'newer' and new.id = 2 then perform pg_sleep(0.4); end if; return new; end $$;
      create trigger dawdle before update on ${table} for each row execute function public.dawdle_${tables}()`);
    // Both know of the rows, so that there is an entry to wait for.
    await write(await endedBatch(sql, name), 'first');
    await alterPipeline(sql, name, { model: 'second' });
    const older = await again();
    await write(older, 'second');
    const late = await again();
    await alterPipeline(sql, name, { model: 'third' });
    const newer = write(await again(), 'newer');
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(await write(late, 'late')).toEqual({ ...none, stale: 2 });
    await newer;
    expect(await films()).toMatchObject([{ summary: 'newer' }, { summary: 'newer' }]);
  });

  it('an input in flight under one is asked for under the next, and only once', async () => {
    await sql`select rowmill.flush(${name})`;
    const first = await startBatch(sql, await takeChunks(sql, name));
    expect(first.rows).toHaveLength(2);
    await alterPipeline(sql, name, { model: 'x' });
    expect((await again()).rows).toHaveLength(2);
    expect((await again()).rows).toHaveLength(0);
  });

  it('one whose column only the older version knew is given up, and its row is asked for anew', async () => {
    await sql`select rowmill.flush(${name})`;
    const first = await startBatch(sql, await takeChunks(sql, name));
    await alterPipeline(sql, name, { outputs: ['score'] });
    await sql.unsafe(`alter table ${table} drop column summary`);
    await endBatch(sql, first.batchId);
    expect(await write(first, 'first')).toEqual({ ...none, stale: 2 });
    expect(await queuedKeys(sql, id)).toEqual([[1], [2]]);
  });

  it('an older one that fills what the newer asks with is an edit', async () => {
    const first = await endedBatch(sql, name);
    await alterPipeline(sql, name, { prompt: '{{summary}}', outputs: ['note'] });
    await write(first, 'first');
    expect(await queuedKeys(sql, id)).toEqual([[1], [2]]);
    await emptyQueue(sql, id);
  });

  it('a failure is judged by the input of its own version', async () => {
    const first = await endedBatch(sql, name);
    await alterPipeline(sql, name, { model: 'x' });
    await apply(sql, first.batchId, { failures: [failure(first.rows[0]!, { retried: false })] });
    expect(await sql`select key, is_final from rowmill.failures where pipeline_id = ${id}`).toEqual([
      { key: [1], is_final: true },
    ]);
    await sql.unsafe(`update ${table} set title = 'edited' where id = 2`);
    await apply(sql, first.batchId, { failures: [failure(first.rows[1]!, { retried: false })] });
    expect(await sql`select from rowmill.failures where pipeline_id = ${id}`).toHaveLength(1);
  });

  it('a failure of an older one says nothing of a row that a newer one answered', async () => {
    const first = await endedBatch(sql, name);
    await alterPipeline(sql, name, { model: 'x' });
    await write(await again(), 'second');
    await apply(sql, first.batchId, { failures: first.rows.map((row) => failure(row, { retried: false })) });
    expect(await sql`select from rowmill.failures where pipeline_id = ${id}`).toHaveLength(0);
  });

  it('a value that Postgres refuses fails its row alone, under every version', async () => {
    await alterPipeline(sql, name, { outputs: ['score'] });
    const batch = await endedBatch(sql, name);
    const [one, two] = batch.rows;
    const answers = [answer(one!, 'seven'), answer(two!, 7)];
    expect(await apply(sql, batch.batchId, { answers })).toEqual({ ...none, enriched: 1, failed: 1 });
    expect(await kept()).toMatchObject([{ version: 1 }, { version: 2 }]);
  });

  it('an alteration waits for a slice that is being written, and the next sees it', async () => {
    const batch = await endedBatch(sql, name);
    let altered: Promise<number> | undefined;
    let isThrough = false;
    await sql.begin(async (tx) => {
      await apply(tx, batch.batchId, { answers: [answer(batch.rows[0]!, 'first')] });
      altered = alterPipeline(sql, name, { model: 'x' }).finally(() => {
        isThrough = true;
      });
      await tx`select pg_sleep(0.2)`;
      expect(isThrough).toBe(false);
    });
    expect(await altered).toBe(2);
    await apply(sql, batch.batchId, { answers: [answer(batch.rows[1]!, 'first')] });
    expect(await kept()).toEqual([{ key: [2], version: 1 }]);
  });

  it('are handed to a worker with the version to read them by', async () => {
    await sql`select rowmill.flush(${name})`;
    const batch = await startBatch(sql, await takeChunks(sql, name));
    await alterPipeline(sql, name, { model: 'x' });
    await endBatch(sql, batch.batchId, 'somebody');
    await sql`update rowmill.batch_processing_details set owner = null, lease_until = null where id = ${batch.batchId}`;
    const claimed = await sql`select batch_id, pipeline_version from rowmill.claim_ended_batches('w', 100)`;
    expect(claimed).toContainEqual({ batch_id: batch.batchId, pipeline_version: 1 });
  });
});
