import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  alterPipeline,
  answer,
  apply,
  createPipeline,
  emptyQueue,
  endedBatch,
  problemOf,
  queuedKeys,
  refusal,
} from '../support/sql-factories.ts';

describe('provenance', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql.unsafe(`
      create domain public.model_name as text check (value <> '');
      create table public.films (
        id bigint primary key, title text, summary text,
        by_batch bigint, by_model public.model_name, at timestamptz, on_day date, of_version smallint, said text,
        short varchar(3), flag boolean, doubled bigint generated always as (id * 2) stored
      )`);
  });
  afterAll(() => database.drop());

  const all = { by_batch: '$batch_id', by_model: '$model', AT: '$completed_at', of_version: '$version' };

  it('is written with the answer: batch, model, when it ended, and the version', async () => {
    const id = await createPipeline(sql, {
      provenance: { ...all, on_day: '$completed_at', said: '$version' },
    });
    await sql`insert into films (id, title) values (1, 'Alien')`;
    const batch = await endedBatch(sql, 'films');
    await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, 'about')) });
    const [film] = await sql`
      select f.*, b.ended_at, f.on_day = (b.ended_at at time zone 'UTC')::date as same_day
      from films as f, rowmill.batch_processing_details as b where b.id = ${batch.batchId}`;
    expect(film).toMatchObject({
      ...{ summary: 'about', by_batch: batch.batchId, by_model: 'gpt-4o-mini' },
      ...{ of_version: 1, said: '1', at: film!.ended_at, same_day: true },
    });
    expect(await queuedKeys(sql, id)).toEqual([]);
    await sql`select rowmill.drop_pipeline('films')`;
  });

  it('says the version that asked, not the one that holds', async () => {
    await createPipeline(sql, { provenance: { of_version: '$version' } });
    await sql`update films set title = 'Aliens'`;
    const batch = await endedBatch(sql, 'films');
    await alterPipeline(sql, 'films', { model: 'x', provenance: all });
    await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, 'about')) });
    await sql`update films set title = 'Alien 3'`;
    const [before] = await sql`select of_version from films`;
    const next = await endedBatch(sql, 'films');
    await apply(sql, next.batchId, { answers: next.rows.map((row) => answer(row, 'about')) });
    const [after] = await sql`select of_version, by_model from films`;
    expect([before!.of_version, after]).toEqual([1, { of_version: 2, by_model: 'x' }]);
    await sql`select rowmill.drop_pipeline('films')`;
  });

  it('in the pipeline’s own filter makes no answer an edit', async () => {
    const id = await createPipeline(sql, { provenance: { said: '$model' }, filter: 'said is null' });
    await emptyQueue(sql, id);
    await sql`update films set said = 'x'`;
    expect(await queuedKeys(sql, id)).toEqual([]);
    await sql`select rowmill.drop_pipeline('films')`;
  });

  it('that others read makes a chain, and no loop', async () => {
    await createPipeline(sql, { provenance: { said: '$model' } });
    const loop = { name: 'back', prompt: '{{said}}', outputs: ['title'] };
    expect(await refusal(createPipeline(sql, loop))).toMatchObject({ code: 'RM108' });
    const id = await createPipeline(sql, { ...loop, outputs: ['short'] });
    const [row] = await sql`select (rowmill.source_parts_of(${id})).selected as selected`;
    expect(row!.selected).toContain('said is not null');
    for (const name of ['films', 'back']) await sql`select rowmill.drop_pipeline(${name})`;
  });

  it('is missed when its column is dropped', async () => {
    await sql`alter table films add column fleeting text`;
    await createPipeline(sql, { provenance: { fleeting: '$model' } });
    await sql`alter table films drop column fleeting`;
    expect(await problemOf(sql, 'films')).toContain('provenance column fleeting');
    expect(await alterPipeline(sql, 'films', { reset: ['provenance'] })).toBe(2);
    expect(await problemOf(sql, 'films')).toBeNull();
    await sql`select rowmill.drop_pipeline('films')`;
  });

  it.each([
    ['an unknown column', { nobody: '$model' }, 'RM101'],
    ['a column of the key', { id: '$batch_id' }, 'RM106'],
    ['a generated column', { doubled: '$batch_id' }, 'RM106'],
    ['an output', { summary: '$model' }, 'RM106'],
    ['a column twice', { said: '$model', SAID: '$version' }, 'RM106'],
    ['an input', { title: '$model' }, 'RM108'],
    ['an unknown value', { said: '$colour' }, 'RM109'],
    ['a value that is none', { said: null }, 'RM109'],
    ['a list', ['said'], 'RM109'],
    ['null', null, 'RM109'],
    ['a batch in a flag', { flag: '$batch_id' }, 'RM107'],
    ['a batch in a small number', { of_version: '$batch_id' }, 'RM107'],
    ['a model in a number', { by_batch: '$model' }, 'RM107'],
    ['a time in a number', { by_batch: '$completed_at' }, 'RM107'],
    ['a version in a time', { at: '$version' }, 'RM107'],
  ])('%s is refused', async (_what, provenance, code) => {
    const error = await refusal(createPipeline(sql, { name: 'x', provenance }));
    expect({ code: error.code, detail: error.detail ?? '', hint: error.hint ?? '' }).toEqual({
      code,
      detail: expect.stringMatching(/./),
      hint: expect.stringMatching(/./),
    });
  });
});
