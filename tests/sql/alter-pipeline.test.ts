import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  type AlterOptions,
  alterPipeline,
  createFilms,
  createPipeline,
  emptyQueue,
  insertFilms,
  type PipelineOptions,
  queuedKeys,
  refusal,
} from '../support/sql-factories.ts';

describe('alter_pipeline', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let name: string;
  let table: string;
  let id: number;
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
    id = await create();
  });

  const create = (options: PipelineOptions = {}) => createPipeline(sql, { name, source: table, ...options });
  const alter = (options: AlterOptions) => alterPipeline(sql, name, options);
  const pipeline = async () => (await sql`select * from rowmill.pipelines where id = ${id}`)[0]!;
  const versions = async () =>
    await sql`select version, definition from rowmill.pipeline_versions where pipeline_id = ${id} order by version`;
  const worker = async (version: number | null = null) =>
    (await sql`select rowmill.get_pipeline(${id}, ${version}) as definition`)[0]!.definition;

  async function refused(options: AlterOptions, code: string) {
    const before = [await pipeline(), await versions()];
    const error = await refusal(alter(options));
    expect({ code: error.code, detail: error.detail ?? '', hint: error.hint ?? '' }).toEqual({
      code,
      detail: expect.stringMatching(/./),
      hint: expect.stringMatching(/./),
    });
    expect([await pipeline(), await versions()]).toEqual(before);
    return error;
  }

  describe('a version', () => {
    it('is made by what is asked or filled, and the one before is kept as it was', async () => {
      const first = await worker();
      expect(await alter({ model: 'gpt-5-nano', prompt: 'Film {{title}}: {{note}}' })).toBe(2);
      expect(await alter({ outputs: ['summary', 'score'] })).toBe(3);
      expect(await worker()).toMatchObject({ version: 3, model: 'gpt-5-nano', inputs: ['title', 'note'] });
      expect(await worker(1)).toEqual(first);
      expect(await worker(2)).toMatchObject({
        version: 2,
        model: 'gpt-5-nano',
        outputs: [{ name: 'summary' }],
      });
      expect(await worker(4)).toBeNull();
      expect((await versions()).map((row) => row.version)).toEqual([1, 2]);
    });

    it.each<[string, AlterOptions]>([
      ['instructions', { instructions: 'Be brief.' }],
      ['a prompt', { prompt: '{{title}}!' }],
      ['outputs', { outputs: ['score'] }],
      ['a model', { model: 'x' }],
      ['a format', { format: 'text' }],
      ['a schema', { output_schema: { type: 'object', properties: { summary: { type: 'string' } } } }],
      ['a filter', { filter: 'title is not null' }],
      ['params', { params: { temperature: 0 } }],
      ['an endpoint', { endpoint: '/v1/responses' }],
      ['provenance', { provenance: { note: '$model' } }],
      ['a placeholder style', { prompt: '[title]', placeholder_style: 'brackets' }],
    ])('%s makes a new one; the same again makes none', async (_what, options) => {
      expect(await alter(options)).toBe(2);
      expect(await alter(options)).toBe(2);
      expect(await versions()).toHaveLength(1);
    });

    it('sizes, attempts and budgets make none', async () => {
      const options = { chunk_size: 5, flush_after: '5 seconds', max_attempts: 9 };
      expect(await alter({ ...options, budget_usd: 10, daily_budget_usd: '0.5' })).toBe(1);
      expect(await pipeline()).toMatchObject({
        ...{ version: 1, chunk_size: 5, max_attempts: 9, budget_usd: '10', daily_budget_usd: '0.5' },
      });
      expect(await versions()).toEqual([]);
    });

    it('null throughout changes nothing', async () => {
      const before = await pipeline();
      expect(await alter({})).toBe(1);
      expect(await pipeline()).toEqual(before);
    });

    it('has a schema of its own outputs, with the comments of today', async () => {
      await sql.unsafe(`comment on column ${table}.score is '0 to 10'`);
      await alter({ outputs: ['score', 'summary'] });
      const properties = JSON.parse((await worker()).response_schema_text).properties;
      expect(Object.entries(properties)).toEqual([
        ['score', { type: ['integer', 'null'], description: '0 to 10' }],
        ['summary', { type: ['string', 'null'] }],
      ]);
    });

    it('keeps a schema that was given, until it is reset', async () => {
      const own = { type: 'object', properties: { summary: { type: 'string', maxLength: 9 } } };
      await alter({ output_schema: own });
      await alter({ model: 'x' });
      expect(JSON.parse((await worker()).response_schema_text)).toEqual(own);
      expect((await refused({ outputs: ['score'] }, 'RM109')).message).toContain('score');
      await alter({ outputs: ['score'], reset: ['output_schema'] });
      expect((await worker()).response_schema_text).toContain('"score"');
    });

    it('names a renamed output as it is called today', async () => {
      await sql.unsafe(`alter table ${table} rename column summary to gist`);
      await alter({ model: 'x' });
      expect(await worker()).toMatchObject({ outputs: [{ name: 'gist' }] });
      expect((await worker()).response_schema_text).toContain('"gist"');
      expect(await worker(1)).toMatchObject({ outputs: [{ name: 'summary' }] });
    });

    it('is stamped on the chunks that are formed under it', async () => {
      await insertFilms(sql, 1, 1, table);
      await sql`select rowmill.flush(${name})`;
      await alter({ model: 'x' });
      await insertFilms(sql, 2, 2, table);
      await sql`select rowmill.flush(${name})`;
      const chunks = await sql`select version from rowmill.chunks where pipeline_id = ${id} order by id`;
      expect(chunks.map((chunk) => chunk.version)).toEqual([1, 2]);
    });

    it('goes with its pipeline', async () => {
      await alter({ model: 'x' });
      await sql`insert into rowmill.row_versions (pipeline_id, key, version) values (${id}, '[1]', 2)`;
      await sql`select rowmill.drop_pipeline(${name})`;
      expect(await versions()).toEqual([]);
      expect(await sql`select from rowmill.row_versions where pipeline_id = ${id}`).toHaveLength(0);
    });
  });

  describe('reset', () => {
    it('takes every parameter back to what create_pipeline gives it', async () => {
      const changes: AlterOptions = {
        ...{ instructions: 'x', format: 'text', filter: 'title is not null', params: { top_p: 1 } },
        ...{
          endpoint: '/v1/responses',
          provenance: { note: '$model' },
          chunk_size: 7,
          flush_after: '7 seconds',
        },
        ...{ max_attempts: 7, budget_usd: 7, daily_budget_usd: 7 },
      };
      await alter(changes);
      expect(await alter({ reset: Object.keys(changes) })).toBe(3);
      const plain = await createPipeline(sql, { name: `plain_${name}`, source: table });
      const other = ['id', 'name', 'version', 'trigger_names', 'created_at'];
      const [mine, fresh] = [
        await pipeline(),
        (await sql`select * from rowmill.pipelines where id = ${plain}`)[0]!,
      ];
      for (const column of other) {
        delete mine[column];
        delete fresh[column];
      }
      expect(mine).toEqual(fresh);
    });

    it('of a style takes the prompt’s new form with it', async () => {
      await alter({ prompt: '[title]', placeholder_style: 'brackets' });
      await refused({ reset: ['placeholder_style'] }, 'RM109');
      expect(await alter({ prompt: '{{title}}', reset: ['placeholder_style'] })).toBe(3);
    });

    it.each<[string, AlterOptions]>([
      ['what has no default', { reset: ['prompt'] }],
      ['what nobody knows', { reset: ['colour'] }],
      ['what is given as well', { filter: 'true', reset: ['filter'] }],
    ])('of %s is refused', async (_what, options) => {
      await refused(options, 'RM109');
    });
  });

  describe('a mistake', () => {
    it.each<[string, AlterOptions, string]>([
      ['an unknown placeholder', { prompt: '{{director}}' }, 'RM101'],
      ['a prompt that names nothing', { prompt: 'x' }, 'RM109'],
      ['an unknown output', { outputs: ['genre'] }, 'RM101'],
      ['an output that is an input', { outputs: ['title'] }, 'RM108'],
      ['an input that is an output', { prompt: '{{summary}}' }, 'RM108'],
      ['a filter that is none', { filter: 'colour' }, 'RM102'],
      ['a budget below zero', { budget_usd: -1 }, 'RM109'],
      ['a daily budget that is no number', { daily_budget_usd: 'NaN' }, 'RM109'],
      ['chunk_size 0', { chunk_size: 0 }, 'RM109'],
      ['an unknown style', { placeholder_style: 'angles' }, 'RM109'],
      ['provenance of an unknown kind', { provenance: { note: '$colour' } }, 'RM109'],
    ])('%s is refused, and nothing is changed', async (_what, options, code) => {
      await refused(options, code);
    });

    it('a name that no pipeline has is refused', async () => {
      expect(await refusal(alterPipeline(sql, 'nobody', { model: 'x' }))).toMatchObject({ code: 'RM111' });
    });

    it('over a table that was dropped is refused', async () => {
      await sql.unsafe(`drop table ${table}`);
      expect((await refused({ filter: 'true' }, 'RM201')).hint).toContain('drop_pipeline');
    });

    it('a loop through another pipeline is refused', async () => {
      await create({ name: `next_${name}`, prompt: '{{summary}}', outputs: ['note'] });
      expect((await refused({ prompt: '{{title}} {{note}}' }, 'RM108')).detail).toContain(`next_${name}`);
      expect(await alter({ outputs: ['score'], prompt: '{{summary}}' })).toBe(2);
      // ... which leaves the other free to read what this one filled
      expect(await alterPipeline(sql, `next_${name}`, { prompt: '{{score}}' })).toBe(2);
    });

    it('a pipeline that is turned round makes no loop with what it was', async () => {
      expect(await alter({ prompt: '{{summary}}', outputs: ['title'] })).toBe(2);
    });

    it('a column that was dropped is to be left out, and then the pipeline works again', async () => {
      await alter({ outputs: ['summary', 'score'] });
      await sql.unsafe(`alter table ${table} drop column score`);
      const error = await refused({ model: 'x' }, 'RM101');
      expect(error.message).toContain('score (outputs)');
      expect(await alter({ outputs: ['summary'] })).toBe(3);
      expect((await sql`select rowmill.structure_problem(${id}) as problem`)[0]!.problem).toBeNull();
    });
  });

  describe('triggers', () => {
    it('watch the inputs and the filter’s columns of the new version, and no others', async () => {
      await insertFilms(sql, 1, 1, table);
      await alter({ prompt: '{{note}}', filter: 'score is null' });
      const edits = async (column: string, value: string) => {
        await emptyQueue(sql, id);
        await sql.unsafe(`update ${table} set ${column} = ${value} where id = 1`);
        return (await queuedKeys(sql, id)).length;
      };
      expect(await edits('note', `'x'`)).toBe(1);
      expect(await edits('score', '1')).toBe(1);
      expect(await edits('title', `'x'`)).toBe(0);
      expect(await edits('summary', `'x'`)).toBe(0);
      await alter({ outputs: ['score'] });
      expect(await edits('score', '2')).toBe(0);
    });

    it('on partitions watch them, too', async () => {
      await sql.unsafe(`
        create table public.parts_${tables} (id bigint primary key, title text, note text, summary text)
          partition by range (id);
        create table public.part_${tables} partition of public.parts_${tables} for values from (0) to (100)`);
      const own = await create({ name: `parts_${tables}`, source: `public.parts_${tables}` });
      await alterPipeline(sql, `parts_${tables}`, { prompt: '{{note}}' });
      await sql.unsafe(`insert into public.parts_${tables} (id) values (1)`);
      await emptyQueue(sql, own);
      await sql.unsafe(`update public.part_${tables} set title = 'x'`);
      expect(await queuedKeys(sql, own)).toEqual([]);
      await sql.unsafe(`update public.part_${tables} set note = 'x'`);
      expect(await queuedKeys(sql, own)).toEqual([[1]]);
    });

    it('form chunks of the new size', async () => {
      await alter({ chunk_size: 10 });
      await insertFilms(sql, 1, 10, table);
      expect(await sql`select row_count from rowmill.chunks where pipeline_id = ${id}`).toEqual([
        { row_count: 10 },
      ]);
    });
  });
});
