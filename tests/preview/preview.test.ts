import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RowmillError } from '../../src/errors.ts';
import { preview, readPreviewOptions } from '../../src/preview/preview.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createFilms, createPipeline, insertFilms } from '../support/sql-factories.ts';

describe('preview', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createDatabase();
    const { sql } = database;
    await createFilms(sql);
    await createPipeline(sql, { instructions: 'Be brief.', params: { max_completion_tokens: 100 } });
    await createPipeline(sql, { name: 'unpriced', model: 'somebody/elses-model' });
    await insertFilms(sql, 1, 2500);
  });
  afterAll(async () => {
    await database.drop();
  });

  const show = (pipeline = 'films', rows = 2) => preview(database.url, { pipeline, rows, isRaw: false });

  test('shows the bodies that a worker would send, byte for byte where it is asked to', async () => {
    const raw = await preview(database.url, { pipeline: 'films', rows: 2, isRaw: true });
    const bodies = raw.trimEnd().split('\n');
    expect(bodies).toHaveLength(2);
    expect(JSON.parse(bodies[0]!)).toMatchObject({
      model: 'gpt-4o-mini',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Title: film 1' },
      ],
      response_format: { type: 'json_schema' },
      max_completion_tokens: 100,
    });
    expect(await show()).toContain('"content": "Title: film 2"');
  });

  test('estimates what everything that is queued would take, and what would be reserved', async () => {
    const text = await show();
    expect(text).toContain('films, version 1: the next 2 of 2,500 queued rows');
    expect(text).toMatch(/input {3}about \d\d\d?,\d{3} tokens, from 300 of the rows/);
    expect(text).toContain('output  about 250,000 tokens, at most 100 for each row');
    expect(text).toMatch(/cost {4}about \$0\.\d{4}; \$0\.\d{4} would be reserved \(gpt-4o-mini, batch price/);
    expect(text).toContain('Nothing was sent.');
  });

  test('calls what it cannot know unknown', async () => {
    const text = await show('unpriced');
    expect(text).toContain('output  unknown until a first batch has ended');
    expect(text).toContain('cost    unknown: rowmill.model_prices has no price for somebody/elses-model');
  });

  test('says why the pipeline waits', async () => {
    const { sql } = database;
    await sql`update rowmill.pipelines set budget_usd = 0 where name = 'films'`;
    const text = await show();
    await sql`update rowmill.pipelines set budget_usd = null where name = 'films'`;
    expect(text).toContain('budget  $0.00 left');
    expect(text).toContain('waits   $0.0000 of $0, the budget of "films", is left');
  });

  test('changes nothing', async () => {
    const { sql } = database;
    const state = () => sql`
      select (select jsonb_agg(to_jsonb(c)) from rowmill.chunks as c) as chunks,
        (select jsonb_agg(to_jsonb(k)) from rowmill.pending_keys as k) as pending,
        (select count(*) from rowmill.chunk_rows) as rows,
        (select count(*) from rowmill.batch_processing_details) as batches`;
    const [before] = await state();
    await show();
    expect(await state()).toEqual([before]);
  });

  test('shows rows of the table where nothing is queued', async () => {
    const { sql } = database;
    await sql`create table quiet (id int primary key, title text, summary text)`;
    await sql`insert into quiet values (7, 'seven', null)`;
    await createPipeline(sql, { name: 'quiet', source: 'public.quiet' });
    const text = await show('quiet');
    expect(text).toContain('nothing is queued; 1 rows of the table');
    expect(text).toContain('key [7]');
    expect(text).toContain('nothing, so nothing would be paid');
  });

  test('names the pipelines that there are where it knows none of that name', async () => {
    await expect(show('flims')).rejects.toMatchObject({ message: 'there is no pipeline "flims"' });
  });

  test.each([
    [[], '--pipeline is missing'],
    [['--pipeline', 'films', '--rows', '0'], "--rows takes a whole number from 1 to 1000, and got '0'"],
    [['--pipeline', 'films', '--row', '5'], 'Unknown option'],
  ])('refuses the command line %j with what it expects', (args, message) => {
    expect(() => readPreviewOptions(args)).toThrow(RowmillError);
    expect(() => readPreviewOptions(args)).toThrow(message);
  });

  test('is a command of the service', async () => {
    const server = path.join(import.meta.dirname, '../../src/server.ts');
    const child = spawn(process.execPath, [server, 'preview', '--pipeline', 'films', '--rows', '1'], {
      env: { ...process.env, DATABASE_URL: database.url },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (data: Buffer) => (text += data.toString()));
    await once(child, 'close');
    expect(child.exitCode).toBe(0);
    expect(text).toContain('"content": "Title: film 1"');
  });
});
