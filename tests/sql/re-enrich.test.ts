import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  alterPipeline,
  answer,
  apply,
  createFilms,
  createPipeline,
  emptyQueue,
  endedBatch,
  insertFilms,
  queuedKeys,
  refusal,
  startBatch,
  takeChunks,
  tick,
} from '../support/sql-factories.ts';

describe.each([
  'row_versions',
  'row_versions, for another target',
  'a provenance column',
  'a column of another target',
])('re_enrich by %s', (by) => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let id: number;
  const isElsewhere = by.endsWith('another target');
  const target = isElsewhere ? 'public.gists' : 'public.films';
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql`create table gists (id bigint primary key, summary text, score integer)`;
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    await sql`drop table if exists films cascade`;
    await sql`truncate gists`;
    await createFilms(sql);
    id = await createPipeline(sql, {
      target,
      provenance: by.startsWith('row_versions') ? {} : { score: '$version' },
    });
  });
  const drop = () => sql`select rowmill.drop_pipeline('films')`;

  async function enrich(summary: string | null = 'about') {
    const batch = await endedBatch(sql, 'films');
    await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, summary)) });
  }
  /** The rows that it queues. */
  async function queued(below: number | null = null) {
    await emptyQueue(sql, id);
    await sql`select rowmill.re_enrich('films', ${below})`;
    while ((await tick(sql)).more);
    return await queuedKeys(sql, id);
  }

  it('queues rows of older versions, and those that were never enriched', async () => {
    await insertFilms(sql, 1, 2);
    await enrich();
    await alterPipeline(sql, 'films', { model: 'second' });
    await insertFilms(sql, 3, 4);
    await enrich();
    await alterPipeline(sql, 'films', { model: 'third' });
    await insertFilms(sql, 5, 5);
    await enrich();
    await insertFilms(sql, 6, 6);
    expect(await queued(2)).toEqual([[1], [2], [6]]);
    expect(await queued(3)).toEqual([[1], [2], [3], [4], [6]]);
    expect(await queued()).toEqual([[1], [2], [3], [4], [6]]);
    await sql`select rowmill.re_enrich('films')`;
    await tick(sql);
    await enrich('anew');
    expect(await sql.unsafe(`select id from ${target} where summary = 'anew' order by id`)).toHaveLength(5);
    expect(await queued()).toEqual([]);
    await drop();
  });

  it('queues an answer that was null throughout', async () => {
    await insertFilms(sql, 1, 1);
    await alterPipeline(sql, 'films', { model: 'second' });
    await enrich(null);
    expect(await queued()).toEqual([[1]]);
    await drop();
  });

  it('does not send what is under way under the version that holds', async () => {
    await insertFilms(sql, 1, 2);
    await enrich();
    await alterPipeline(sql, 'films', { model: 'second' });
    await insertFilms(sql, 3, 3);
    await sql`select rowmill.flush('films')`;
    await startBatch(sql, await takeChunks(sql, 'films'));
    expect(await queued()).toEqual([[1], [2], [3]]);
    await sql`select rowmill.flush('films')`;
    const { rows } = await takeChunks(sql, 'films');
    expect(rows.map((row) => row.input.title)).toEqual(['film 1', 'film 2']);
    await drop();
  });

  it('refuses where no version can be below', async () => {
    expect(await refusal(sql`select rowmill.re_enrich('films')`)).toMatchObject({
      code: 'RM109',
      detail: expect.stringMatching(/./),
      hint: expect.stringContaining('backfill'),
    });
    await alterPipeline(sql, 'films', { model: 'second' });
    for (const below of [1, 0, 3]) {
      expect(await refusal(sql`select rowmill.re_enrich('films', ${below})`)).toMatchObject({
        code: 'RM109',
      });
    }
    expect(await refusal(sql`select rowmill.re_enrich('nobody')`)).toMatchObject({ code: 'RM111' });
    await drop();
  });

  it('a backfill that follows takes every row again', async () => {
    await insertFilms(sql, 1, 2);
    await alterPipeline(sql, 'films', { model: 'second' });
    await enrich();
    expect(await queued()).toEqual([]);
    await sql`select rowmill.backfill('films')`;
    await tick(sql);
    expect(await queuedKeys(sql, id)).toEqual([[1], [2]]);
    await drop();
  });

  it('goes forward in slices', async () => {
    await insertFilms(sql, 1, 5);
    await enrich();
    await alterPipeline(sql, 'films', { model: 'second' });
    await sql`select rowmill.re_enrich('films')`;
    const counts: number[] = [];
    for (let slice = 0; slice < 3; slice += 1) {
      const [row] = await sql`select rowmill.backfill_slice(${id}, 2) as rows`;
      counts.push(row!.rows);
    }
    expect(counts).toEqual([2, 2, 1]);
    await drop();
  });
});
