import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createPipeline } from '../support/sql-factories.ts';

type Schema = {
  properties: Record<string, Record<string, unknown>>;
  required: string[];
  additionalProperties: boolean;
  type: string;
};

describe('the schema that is derived from the outputs', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let tables = 0;
  const ajv = new Ajv({ strict: false, logger: false });
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql.unsafe(`
      create schema extensions;
      create extension citext schema extensions;
      create type public.genre as enum ('drama', 'comedy', 'it''s "odd"');
      create type public.pair as (a int, b int);
      create domain public.line as text check (value !~ '\\n');
      create domain public.required_line as text not null;
      create domain public.deeper_line as public.required_line;
      create domain public.genre_domain as public.genre;
      create domain public.genres as public.genre[];
      create domain public.document as jsonb`);
  });
  afterAll(() => database.drop());

  async function schemaOf(columns: string, outputs: string[]): Promise<Schema> {
    tables += 1;
    const name = `films_${tables}`;
    await sql.unsafe(`create table public.${name} (id int primary key, title text, ${columns})`);
    await createPipeline(sql, { name, source: `public.${name}`, outputs });
    const [row] =
      await sql`select response_schema::text as schema from rowmill.pipelines where name = ${name}`;
    return JSON.parse(row!.schema);
  }
  const valueSchema = async (type: string) => (await schemaOf(`v ${type}`, ['v'])).properties.v;

  it.each<[string, unknown, unknown]>([
    ['text', { type: ['string', 'null'] }, 'a'],
    ['varchar(10)', { type: ['string', 'null'] }, 'a'],
    ['char(3)', { type: ['string', 'null'] }, 'abc'],
    ['extensions.citext', { type: ['string', 'null'] }, 'a'],
    ['public.line', { type: ['string', 'null'] }, 'a'],
    ['boolean', { type: ['boolean', 'null'] }, true],
    ['smallint', { type: ['integer', 'null'] }, 1],
    ['integer', { type: ['integer', 'null'] }, 1],
    ['bigint', { type: ['integer', 'null'] }, 1],
    ['numeric(10, 2)', { type: ['number', 'null'] }, 1.5],
    ['real', { type: ['number', 'null'] }, 1.5],
    ['double precision', { type: ['number', 'null'] }, 1.5],
    ['uuid', { type: ['string', 'null'], format: 'uuid' }, '6f9619ff-8b86-d011-b42d-00cf4fc964ff'],
    ['date', { type: ['string', 'null'], format: 'date' }, '2024-01-01'],
    ['timestamp', { type: ['string', 'null'], format: 'date-time' }, '2024-01-01T00:00:00'],
    ['timestamptz', { type: ['string', 'null'], format: 'date-time' }, '2024-01-01T00:00:00Z'],
    ['time', { type: ['string', 'null'], format: 'time' }, '12:00:00'],
    ['interval', { type: ['string', 'null'], format: 'duration' }, 'P1D'],
    ['text[]', { type: ['array', 'null'], items: { type: 'string' } }, ['a']],
    ['int[] not null', { type: 'array', items: { type: 'integer' } }, [1]],
    ['public.genre', { type: ['string', 'null'], enum: ['drama', 'comedy', 'it\'s "odd"', null] }, null],
    [
      "public.genre not null default 'drama'",
      { type: 'string', enum: ['drama', 'comedy', 'it\'s "odd"'] },
      'drama',
    ],
    [
      'public.genre_domain',
      { type: ['string', 'null'], enum: ['drama', 'comedy', 'it\'s "odd"', null] },
      'comedy',
    ],
    [
      'public.genre[]',
      { type: ['array', 'null'], items: { type: 'string', enum: ['drama', 'comedy', 'it\'s "odd"'] } },
      ['drama'],
    ],
    [
      'public.genres',
      { type: ['array', 'null'], items: { type: 'string', enum: ['drama', 'comedy', 'it\'s "odd"'] } },
      ['drama'],
    ],
    ['public.required_line', { type: 'string' }, 'a'],
    ['public.deeper_line', { type: 'string' }, 'a'],
    ['jsonb', { type: ['string', 'null'], description: '(A JSON document, written as a string.)' }, '{}'],
    ['json', { type: ['string', 'null'], description: '(A JSON document, written as a string.)' }, '{}'],
    [
      'public.document',
      { type: ['string', 'null'], description: '(A JSON document, written as a string.)' },
      '{}',
    ],
  ])('%s has its form, which takes a value of it', async (type, form, value) => {
    const schema = await schemaOf(`v ${type}`, ['v']);
    expect(schema).toEqual({
      type: 'object',
      properties: { v: form },
      required: ['v'],
      additionalProperties: false,
    });
    const validate = ajv.compile(schema);
    expect(validate({ v: value })).toBe(true);
    expect(validate({ v: { no: 'such' } })).toBe(false);
    expect(validate({ v: null })).toBe(JSON.stringify(form).includes('null'));
    expect(validate({ v: value, more: 1 })).toBe(false);
    expect(validate({})).toBe(false);
  });

  it('a comment describes a column, a document’s as well', async () => {
    await sql.unsafe(`
      create table public.described (id int primary key, title text, summary text, facts jsonb, plain text);
      comment on column public.described.summary is 'One sentence, "quoted".';
      comment on column public.described.facts is 'What is known.'`);
    await createPipeline(sql, {
      name: 'described',
      source: 'public.described',
      outputs: ['summary', 'facts', 'plain'],
    });
    const [row] =
      await sql`select response_schema::text as schema from rowmill.pipelines where name = 'described'`;
    const { properties } = JSON.parse(row!.schema) as Schema;
    expect(properties.summary!.description).toBe('One sentence, "quoted".');
    expect(properties.facts!.description).toBe('What is known. (A JSON document, written as a string.)');
    expect(properties.plain).not.toHaveProperty('description');
  });

  it('properties stand in the order of outputs, and a worker is given them so', async () => {
    const columns = ['zeta', 'a', 'muchlongername', 'b'];
    const schema = await schemaOf(columns.map((name) => `${name} text`).join(', '), [
      'muchlongername',
      'b',
      'zeta',
      'a',
    ]);
    expect(Object.keys(schema.properties)).toEqual(['muchlongername', 'b', 'zeta', 'a']);
    expect(schema.required).toEqual(['muchlongername', 'b', 'zeta', 'a']);
    const [row] = await sql`
      select rowmill.get_pipeline(id) ->> 'response_schema_text' as text from rowmill.pipelines order by id desc limit 1`;
    expect(JSON.parse(row!.text)).toEqual(schema);
    expect(Object.keys((JSON.parse(row!.text) as Schema).properties)).toEqual([
      'muchlongername',
      'b',
      'zeta',
      'a',
    ]);
  });

  it('a column’s name is the property’s, whatever is in it', async () => {
    const schema = await schemaOf(`"Odd ""name""" text`, ['Odd "name"']);
    expect(schema.required).toEqual(['Odd "name"']);
  });

  it('not null forbids null', async () => {
    expect(await valueSchema(`text not null default ''`)).toEqual({ type: 'string' });
  });

  it('an output_schema of one’s own is kept as it is, order and all', async () => {
    await sql.unsafe('create table public.own (id int primary key, title text, b text, a text)');
    const output_schema = {
      type: 'object',
      properties: { reasoning: { type: 'string' }, b: { type: 'string', maxLength: 5 }, a: {} },
      required: ['b'],
    };
    await createPipeline(sql, { name: 'own', source: 'public.own', outputs: ['a', 'b'], output_schema });
    const [row] = await sql`select response_schema::text as schema from rowmill.pipelines where name = 'own'`;
    expect(row!.schema).toBe(JSON.stringify(output_schema));
  });

  it('format text has none', async () => {
    await sql.unsafe('create table public.raw (id int primary key, title text, summary text)');
    await createPipeline(sql, { name: 'raw', source: 'public.raw', format: 'text' });
    expect(await sql`select response_schema from rowmill.pipelines where name = 'raw'`).toEqual([
      { response_schema: null },
    ]);
  });
});
