import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createPipeline, type PipelineOptions, problemOf, refusal } from '../support/sql-factories.ts';

describe('a target of its own', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql.unsafe(`
      create table public.films (studio text, id numeric(8, 2), title text, note text, primary key (studio, id));
      create table public.gists (id numeric(8, 2), "Studio" text, summary text, title text, primary key ("Studio", id));
      create table public.keyless (studio text, summary text);
      create table public.loose (id numeric(8, 2), studio text, summary text, primary key (summary));
      create unique index on public.loose (studio, id) where summary is not null;
      create unique index on public.loose (studio, (id + 1));
      create table public.narrow (id numeric(8, 2), studio text, summary text, primary key (id));
      create table public.patient (
        id numeric(8, 2), studio text, summary text, unique (studio, id) deferrable initially deferred
      );
      create table public.rounding (id numeric(8, 0), studio text, summary text, primary key (studio, id));
      create table public.other_type (id text, studio text, summary text, primary key (studio, id));
      create table public.serial (
        id bigint generated always as identity, studio text, summary text, primary key (studio, id)
      );
      create table public.strict (
        id numeric(8, 2), studio text, summary text, genre text not null, day date not null default now(),
        serial bigint generated always as identity, primary key (studio, id)
      );
      create view public.gist_view as select * from public.gists`);
  });
  afterAll(() => database.drop());

  async function refused(options: PipelineOptions, code: string) {
    const error = await refusal(createPipeline(sql, { name: 'x', ...options }));
    expect({ code: error.code, detail: error.detail ?? '', hint: error.hint ?? '' }).toEqual({
      code,
      detail: expect.stringMatching(/./),
      hint: expect.stringMatching(/./),
    });
    return error;
  }

  it('has the source’s key, in whatever order, and the outputs', async () => {
    const id = await createPipeline(sql, { target: 'public.gists' });
    const [row] = await sql`
      select target::text, key_columns, target_key_columns, response_schema::text as schema
      from rowmill.pipelines where id = ${id}`;
    expect(row).toMatchObject({ target: 'gists', key_columns: [1, 2], target_key_columns: [2, 1] });
    expect(JSON.parse(row!.schema).properties).toEqual({ summary: { type: ['string', 'null'] } });
    await sql`select rowmill.drop_pipeline('films')`;
  });

  it('may have an output that is called as an input is', async () => {
    await createPipeline(sql, { target: 'public.gists', outputs: ['title'] });
    await sql`select rowmill.drop_pipeline('films')`;
  });

  it('that is the source is as if none were named', async () => {
    const id = await createPipeline(sql, { target: 'public.films', outputs: ['note'] });
    const [row] = await sql`
      select source = target and key_columns = target_key_columns as same from rowmill.pipelines where id = ${id}`;
    expect(row!.same).toBe(true);
    await sql`select rowmill.drop_pipeline('films')`;
  });

  it.each([
    ['a view', 'public.gist_view'],
    ['a table of the system', 'pg_catalog.pg_class'],
    ['a table of Rowmill', 'rowmill.failures'],
    ['a table without the key', 'public.keyless'],
    ['a table whose unique indexes are partial or of expressions', 'public.loose'],
    ['a table whose unique index is narrower', 'public.narrow'],
    ['a table whose unique index is deferrable', 'public.patient'],
    ['a table whose key rounds', 'public.rounding'],
    ['a table whose key has another type', 'public.other_type'],
  ])('%s is none', async (_what, target) => {
    await refused({ target }, 'RM113');
  });

  it('that is temporary is refused, since workers are other sessions', async () => {
    const session = await sql.reserve();
    try {
      await session.unsafe(
        'begin; create temporary table gists (id numeric(8, 2), studio text, summary text, primary key (studio, id))',
      );
      expect(await refusal(createPipeline(session, { target: 'pg_temp.gists' }))).toMatchObject({
        code: 'RM113',
        message: 'gists is a temporary table',
        detail: 'It is gone when the session ends, and workers are other sessions.',
        hint: expect.stringContaining('create table public.films_enriched'),
      });
    } finally {
      await session`rollback`;
      session.release();
    }
  });

  it('without the key is refused with a statement that makes one, and with one that adds the index', async () => {
    const make = (await refused({ target: 'public.keyless' }, 'RM113')).hint!;
    await sql.unsafe(make.slice(make.indexOf('create table')));
    await createPipeline(sql, { name: 'made', target: 'public.films_enriched' });
    await sql.unsafe((await refused({ target: 'public.loose' }, 'RM113')).hint!);
    await createPipeline(sql, { name: 'indexed', target: 'public.loose' });
    for (const name of ['made', 'indexed']) await sql`select rowmill.drop_pipeline(${name})`;
  });

  it('whose key Postgres makes is refused', async () => {
    await sql`create table numbered (studio text, id bigint, title text, primary key (studio, id))`;
    await refused({ source: 'public.numbered', target: 'public.serial' }, 'RM113');
  });

  it('with a column that nobody fills and that may not be null is refused', async () => {
    const error = await refused({ target: 'public.strict' }, 'RM114');
    expect(error.message).toContain('column genre of public.strict is not null and nobody fills it');
    await createPipeline(sql, { target: 'public.strict', outputs: ['summary', 'genre'] });
    await sql`select rowmill.drop_pipeline('films')`;
    await createPipeline(sql, { target: 'public.strict', provenance: { genre: '$model' } });
    await sql`select rowmill.drop_pipeline('films')`;
  });

  it('has its outputs, and never its key among them', async () => {
    expect((await refused({ target: 'public.gists', outputs: ['genre'] }, 'RM101')).hint).toBe(
      'alter table public.gists add column genre text;',
    );
    await refused({ target: 'public.gists', outputs: ['studio'] }, 'RM106');
  });

  it('that the owner of Rowmill may not write is refused with the grant that it needs', async () => {
    const [{ superuser }] = (await sql`select current_user as superuser`) as unknown as [
      { superuser: string },
    ];
    const role = `miller_${database.url.slice(-12)}`;
    await sql.unsafe(`create role ${role}; alter schema rowmill owner to ${role};
      grant select, update on public.films, public.gists to ${role}`);
    try {
      const error = await refused({ target: 'public.gists' }, 'RM105');
      expect(error.hint).toBe(`grant select, insert, update on public.gists to ${role};`);
    } finally {
      await sql.unsafe(
        `alter schema rowmill owner to ${superuser}; drop owned by ${role}; drop role ${role}`,
      );
    }
  });

  it('closes a loop that goes over two tables', async () => {
    await createPipeline(sql, { name: 'there', target: 'public.gists' });
    const back = { name: 'back', source: 'public.gists', prompt: '{{summary}}', target: 'public.films' };
    expect((await refused({ ...back, outputs: ['title'] }, 'RM108')).detail).toContain('there');
    await createPipeline(sql, { ...back, outputs: ['note'] });
    for (const name of ['there', 'back']) await sql`select rowmill.drop_pipeline(${name})`;
  });

  it('closes none where only the numbers of columns are the same', async () => {
    // Each is the third: body of notes, title of films, summary of gists.
    await sql`create table notes (studio text, id numeric(8, 2), body text, primary key (studio, id))`;
    const before = { name: 'before', source: 'public.notes', prompt: '{{body}}', target: 'public.films' };
    await createPipeline(sql, { ...before, outputs: ['title'] });
    await createPipeline(sql, { name: 'there', target: 'public.gists' });
    for (const name of ['there', 'before']) await sql`select rowmill.drop_pipeline(${name})`;
  });

  it('that is dropped, or loses its index, is a problem in words', async () => {
    await sql`create table fleeting (studio text, id numeric(8, 2), summary text, unique (studio, id))`;
    await createPipeline(sql, { target: 'public.fleeting' });
    expect(await problemOf(sql, 'films')).toBeNull();
    await sql`alter table fleeting drop constraint fleeting_studio_id_key`;
    expect(await problemOf(sql, 'films')).toContain('alter table public.fleeting add unique (studio, id);');
    await sql`alter table fleeting drop column id`;
    expect(await problemOf(sql, 'films')).toContain("target's key column");
    await sql`drop table fleeting`;
    expect(await problemOf(sql, 'films')).toContain('the target table fleeting was dropped');
    await sql`select rowmill.drop_pipeline('films')`;
  });
});
