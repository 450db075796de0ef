import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { apply, createPipeline, type EndedBatch, endedBatch } from '../support/sql-factories.ts';

describe('a value of an answer', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let tables = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql.unsafe(`
      create extension citext;
      create type public.genre as enum ('drama', 'comedy');
      create domain public.short as varchar(5) check (value <> 'bad');
      create domain public.genres as public.genre[]`);
  });
  afterAll(() => database.drop());

  async function tableOf(type: string): Promise<{ name: string; batch: EndedBatch }> {
    tables += 1;
    const name = `types_${tables}`;
    await sql.unsafe(`create table public.${name} (id int primary key, title text, v ${type})`);
    await createPipeline(sql, { name, source: `public.${name}`, outputs: ['v'] });
    await sql.unsafe(`insert into public.${name} (id, title) values (1, 'a')`);
    return { name, batch: await endedBatch(sql, name) };
  }

  /** `json` is text: JavaScript would round the very numbers that this is about. */
  async function applyJson(batch: EndedBatch, json: string) {
    const [row] = batch.rows;
    const slice = `[{"c":${row!.c},"n":${row!.n},"h":"${row!.h}","o0":${json}}]`;
    const [result] = await sql`
      select rowmill.apply_results(${batch.batchId}, 'w', 'output', 0, 10, ${slice}::text::jsonb, '[]', 0, 0, 0, 0, 0, 0) as counts`;
    return result!.counts;
  }

  it.each([
    ['text', '"it\'s \\"quoted\\" 映画 🎬\\n"', `'it''s "quoted" 映画 🎬' || chr(10)`],
    ['text', '""', `''`],
    ['text', '42', `'42'`],
    ['varchar(5)', '"abcde"', `'abcde'`],
    ['char(5)', '"ab"', `'ab'`],
    ['citext', '"Ab"', `'Ab'`],
    ['public.short', '"good"', `'good'`],
    ['boolean', 'false', 'false'],
    ['smallint', '-32768', '-32768'],
    ['bigint', '9007199254740993', '9007199254740993'],
    ['bigint', '-9223372036854775808', '-9223372036854775808'],
    ['numeric', '12345678901234567890.12', '12345678901234567890.12'],
    ['numeric(20, 0)', '12345678901234567890', '12345678901234567890'],
    ['numeric(6, 2)', '1234.565', '1234.57'],
    ['double precision', '0.1', '0.1'],
    ['real', '1e10', '1e10'],
    ['jsonb', '{"a":[1,null,"x"],"b":9007199254740993}', `'{"a":[1,null,"x"],"b":9007199254740993}'::jsonb`],
    ['jsonb', '"text"', `'"text"'::jsonb`],
    ['jsonb', '[]', `'[]'::jsonb`],
    ['text[]', '["a","b,c","{\\"d\\"}"]', `array['a', 'b,c', '{"d"}']`],
    ['text[]', '[]', `'{}'`],
    ['int[]', '[1,2]', 'array[1, 2]'],
    ['public.genre', '"comedy"', `'comedy'`],
    ['public.genre[]', '["drama","comedy"]', `array['drama', 'comedy']::public.genre[]`],
    ['public.genres', '["drama"]', `array['drama']::public.genre[]`],
    ['uuid', '"6f9619ff-8b86-d011-b42d-00cf4fc964ff"', `'6f9619ff-8b86-d011-b42d-00cf4fc964ff'`],
    ['date', '"2024-02-29"', `'2024-02-29'`],
    ['timestamp', '"2024-02-29T12:00:00.5"', `'2024-02-29 12:00:00.5'`],
    ['timestamptz', '"2024-02-29T12:00:00+02:00"', `'2024-02-29 10:00:00+00'`],
    ['timestamptz', '"2024-02-29T12:00:00"', `'2024-02-29 12:00:00+00'`],
    ['time', '"12:34:56"', `'12:34:56'`],
    ['interval', '"P1DT2H"', `'1 day 2 hours'`],
  ])('of type %s arrives whole: %s', async (type, json, expected) => {
    const { name, batch } = await tableOf(type);
    await sql.begin(async (tx) => {
      await tx`set local timezone = 'Asia/Tokyo'`;
      expect(await applyJson(batch, json)).toMatchObject({ enriched: 1, failed: 0 });
    });
    const [row] = await sql.unsafe(
      `select v::text is not distinct from (${expected})::${type}::text as same, v::text from public.${name}`,
    );
    expect(row).toMatchObject({ same: true });
  });

  it.each(['text', 'jsonb', 'int[]', 'public.genre', 'bigint', 'timestamptz'])(
    'that is null leaves a column of type %s null, and the row enriched',
    async (type) => {
      const { name, batch } = await tableOf(type);
      expect(await applyJson(batch, 'null')).toMatchObject({ enriched: 1 });
      expect(await sql.unsafe(`select v from public.${name}`)).toEqual([{ v: null }]);
    },
  );

  it.each([
    ['varchar(5)', '"abcdef"'],
    ['public.short', '"bad"'],
    ['smallint', '32768'],
    ['integer', '1.5'],
    ['integer', '"1e"'],
    ['numeric(4, 2)', '100'],
    ['boolean', '"perhaps"'],
    ['public.genre', '"western"'],
    ['public.genre[]', '["western"]'],
    ['text[]', '"a"'],
    ['int[]', '{"a":1}'],
    ['uuid', '"x"'],
    ['date', '"2024-02-30"'],
    ['timestamptz', '"soon"'],
    ["text not null default 'x'", 'null'],
  ])('that a column of type %s cannot take fails the row: %s', async (type, json) => {
    const { name, batch } = await tableOf(type);
    expect(await applyJson(batch, json)).toMatchObject({ enriched: 0, failed: 1 });
    const [row] = await sql`
      select f.error_class, f.message from rowmill.failures as f join rowmill.pipelines as p on p.id = f.pipeline_id where p.name = ${name}`;
    expect(row).toMatchObject({
      error_class: 'type_mismatch',
      message: expect.stringContaining('refused the answer'),
    });
  });

  it('of an output that lacks in the answer counts as null', async () => {
    const { name, batch } = await tableOf('text');
    const [row] = batch.rows;
    expect(await apply(sql, batch.batchId, { answers: [{ c: row!.c, n: row!.n, h: row!.h }] })).toMatchObject(
      { enriched: 1 },
    );
    expect(await sql.unsafe(`select v from public.${name}`)).toEqual([{ v: null }]);
  });
});
