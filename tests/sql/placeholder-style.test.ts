import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compilePrompt } from '../../src/pipeline/prompt.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { alterPipeline, createPipeline, refusal, takeChunks } from '../support/sql-factories.ts';

describe('placeholders in brackets', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql`create table films (id bigint primary key, title text, "Film plot" text, summary text)`;
  });
  afterAll(() => database.drop());

  const brackets = { placeholder_style: 'brackets' };

  it('name columns as braces do, without regard to case, and the worker renders them so', async () => {
    await createPipeline(sql, { ...brackets, prompt: '[TITLE]: [ Film plot ] {{title}}' });
    await sql`insert into films values (1, 'Alien', 'An [egg].')`;
    await sql`select rowmill.flush('films')`;
    const { rows } = await takeChunks(sql, 'films');
    const [row] = await sql`select rowmill.get_pipeline(id) as definition from rowmill.pipelines`;
    const { prompt, inputs, placeholder_style } = row!.definition;
    expect(placeholder_style).toBe('brackets');
    expect(compilePrompt(prompt, inputs, placeholder_style)(rows[0]!.input)).toBe(
      'Alien: An [egg]. {{title}}',
    );
  });

  it('that name no column are refused, as braces are', async () => {
    const error = await refusal(createPipeline(sql, { ...brackets, name: 'x', prompt: '[title] [sic]' }));
    expect(error).toMatchObject({ code: 'RM101', message: expect.stringContaining('"sic"') });
  });

  it('are asked for where the prompt has none', async () => {
    const error = await refusal(createPipeline(sql, { ...brackets, name: 'x', prompt: '{{title}}' }));
    expect(error).toMatchObject({ code: 'RM109', hint: expect.stringContaining('[title]') });
  });

  it('are text in style braces', async () => {
    await createPipeline(sql, { name: 'plain', prompt: '{{title}} [sic]' });
    expect(await alterPipeline(sql, 'plain', { prompt: '{{title}} [nobody]' })).toBe(2);
  });

  it.each([null, 'angles'])('of style %s are refused', async (style) => {
    const error = await refusal(createPipeline(sql, { name: 'x', placeholder_style: style }));
    expect(error).toMatchObject({ code: 'RM109', hint: expect.stringContaining('brackets') });
  });

  it.each([
    ['budget_usd', -0.01],
    ['daily_budget_usd', 'NaN'],
    ['daily_budget_usd', 'Infinity'],
  ])('%s %s is refused', async (name, usd) => {
    const error = await refusal(createPipeline(sql, { name: 'x', [name]: usd }));
    expect(error).toMatchObject({ code: 'RM109', message: expect.stringContaining(name) });
  });

  it('a budget of nothing is one', async () => {
    const id = await createPipeline(sql, { name: 'poor', budget_usd: 0, daily_budget_usd: 2.5 });
    expect(await sql`select budget_usd, daily_budget_usd from rowmill.pipelines where id = ${id}`).toEqual([
      { budget_usd: '0', daily_budget_usd: '2.5' },
    ]);
  });
});
