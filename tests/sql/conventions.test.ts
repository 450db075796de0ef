import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createFilms, createPipeline } from '../support/sql-factories.ts';
import { workerFunctionsOf } from '../support/worker-functions.ts';

const states = {
  pipelines: ['active', 'dropped', 'paused'],
  chunks: ['accepted', 'batched', 'done', 'waiting'],
  batch_processing_details: ['abandoned', 'done', 'ended', 'harvested', 'preparing', 'rejected', 'running'],
};

describe('everything in schema rowmill', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let stranger: string;
  let workerFunctions: string[];
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await createFilms(sql);
    await createPipeline(sql);
    workerFunctions = await workerFunctionsOf(sql);
    stranger = `anon_${database.url.slice(-12)}`;
    await sql.unsafe(`create role ${stranger}; grant ${stranger} to current_user`);
    // Whoever made a role may give it away, and has to do so before becoming it.
    if (inject('ownerUrl') !== null) await sql`grant rowmill_worker to current_user`;
  });
  afterAll(async () => {
    await sql.unsafe(`drop owned by ${stranger}; drop role ${stranger}`);
    await database.drop();
  });

  const functionsThat = async (condition: string) =>
    (
      await sql.unsafe(`
        select p.oid::regprocedure::text as name from pg_proc as p
        where p.pronamespace = 'rowmill'::regnamespace and ${condition} order by 1`)
    ).map((row) => row.name);
  const relationsThat = async (condition: string) =>
    (
      await sql.unsafe(`
        select c.oid::regclass::text as name from pg_class as c
        where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S') and ${condition} order by 1`)
    ).map((row) => row.name);

  it('is a function that looks into pg_catalog first and into pg_temp last, whoever calls it', async () => {
    expect(
      await functionsThat(`not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)`),
    ).toEqual([]);
  });

  it('is a function with a comment', async () => {
    expect(await functionsThat(`obj_description(p.oid, 'pg_proc') is null`)).toEqual([]);
  });

  it('is a function that the public cannot call', async () => {
    expect(await functionsThat(`has_function_privilege('public', p.oid, 'execute')`)).toEqual([]);
  });

  it('is a table with row level security', async () => {
    expect(await relationsThat(`c.relkind in ('r', 'p') and not c.relrowsecurity`)).toEqual([]);
  });

  it('is a table whose policies say that nobody comes in', async () => {
    // Whatever else a policy says, it says it to nobody: no table of ours is there to be read through Supabase's API.
    expect(
      await relationsThat(
        `c.relkind in ('r', 'p') and (
          not exists (select from pg_policy as p where p.polrelid = c.oid)
          or exists (
            select from pg_policy as p
            where p.polrelid = c.oid and 'false' <> any (array[coalesce(pg_get_expr(p.polqual, c.oid), 'false'), coalesce(pg_get_expr(p.polwithcheck, c.oid), 'false')])
          )
        )`,
      ),
    ).toEqual([]);
  });

  it('is a table with a primary key', async () => {
    expect(
      await relationsThat(
        `c.relkind in ('r', 'p') and not exists (select from pg_index as i where i.indrelid = c.oid and i.indisprimary)`,
      ),
    ).toEqual([]);
  });

  it('is a table or a view with a comment', async () => {
    expect(await relationsThat(`c.relkind <> 'S' and obj_description(c.oid, 'pg_class') is null`)).toEqual(
      [],
    );
  });

  it('is a view that sees with the eyes of whoever looks', async () => {
    expect(
      await relationsThat(
        `c.relkind = 'v' and not coalesce('security_invoker=true' = any (c.reloptions), false)`,
      ),
    ).toEqual([]);
  });

  it('is out of a stranger’s sight', async () => {
    const [row] = await sql`select has_schema_privilege(${stranger}, 'rowmill', 'usage, create') as sees`;
    expect(row!.sees).toBe(false);
    expect(await functionsThat(`has_function_privilege('${stranger}', p.oid, 'execute')`)).toEqual([]);
    const any = (
      role: string,
    ) => `case when c.relkind = 'S' then has_sequence_privilege('${role}', c.oid, 'usage, select, update')
      else has_table_privilege('${role}', c.oid, 'select, insert, update, delete, truncate, references, trigger')
        or has_any_column_privilege('${role}', c.oid, 'select, insert, update, references') end`;
    expect(await relationsThat(any(stranger))).toEqual([]);
    expect(await relationsThat(any('rowmill_worker'))).toEqual([]);
    expect(await relationsThat(any('service_role'))).toEqual([]);
  });

  it('is out of a worker’s reach but for the worker’s functions', async () => {
    const callable = await functionsThat(`has_function_privilege('rowmill_worker', p.oid, 'execute')`);
    expect(callable.map((name) => /^rowmill\.(\w+)\(/.exec(name)![1]).sort()).toEqual(workerFunctions);
    // ... which run as the owner: a worker has no rights on what they touch
    expect(
      await functionsThat(`has_function_privilege('rowmill_worker', p.oid, 'execute') and not p.prosecdef`),
    ).toEqual([]);
  });

  it('is out of service_role’s reach, too, but for the worker’s functions', async () => {
    const callable = await functionsThat(`has_function_privilege('service_role', p.oid, 'execute')`);
    expect(callable.map((name) => /^rowmill\.(\w+)\(/.exec(name)![1]).sort()).toEqual(workerFunctions);
    expect(await functionsThat(`has_function_privilege('anon', p.oid, 'execute')`)).toEqual([]);
    expect(await functionsThat(`has_function_privilege('authenticated', p.oid, 'execute')`)).toEqual([]);
    const [row] = await sql`
      select has_schema_privilege('service_role', 'rowmill', 'create') as may_create,
        has_schema_privilege('anon', 'rowmill', 'usage') or has_schema_privilege('authenticated', 'rowmill', 'usage') as is_seen`;
    expect(row).toEqual({ may_create: false, is_seen: false });
  });

  it('has all that a worker calls in one list, which grants it and takes the rest away, again and again', async () => {
    const grants = () => sql`
      select p.oid::regprocedure::text as name, p.proacl::text as acl, p.proconfig from pg_proc as p
      where p.pronamespace = 'rowmill'::regnamespace order by 1`;
    const before = [...(await grants())];
    await sql`grant execute on function rowmill.grant_to_workers() to service_role, rowmill_worker`;
    await sql`revoke execute on function rowmill.tick(integer) from service_role`;
    await sql`alter function rowmill.tick(integer) reset statement_timeout`;
    await sql`select rowmill.grant_to_workers()`;
    const after = [...(await grants())];
    const callable = (rows: typeof before) =>
      rows.filter(({ acl }) => /service_role=X|rowmill_worker=X/.test(acl));
    expect(callable(after).map(({ name }) => name)).toEqual(callable(before).map(({ name }) => name));
    expect(after.find(({ name }) => name.startsWith('rowmill.tick('))!.proconfig).toContain(
      'statement_timeout=50s',
    );
  });

  it('lets a worker tick and a stranger not', async () => {
    await sql.begin(async (tx) => {
      await tx`set local role rowmill_worker`;
      await tx`select rowmill.tick()`;
    });
    for (const [role, statement] of [
      [stranger, 'select rowmill.tick()'],
      ['rowmill_worker', 'select * from rowmill.pipelines'],
      ['rowmill_worker', 'select * from rowmill.pipeline_status'],
      ['rowmill_worker', `select rowmill.drop_pipeline('films')`],
      ['rowmill_worker', 'select value from rowmill.secrets'],
    ] as const) {
      const asked = sql.begin(async (tx) => {
        await tx.unsafe(`set local role ${role}`);
        await tx.unsafe(statement);
      });
      await expect(asked, statement).rejects.toMatchObject({ code: '42501' });
    }
  });

  it.each(Object.entries(states))('knows these states of %s', async (table, known) => {
    const [row] = await sql`
      select pg_get_constraintdef(c.oid) as text from pg_constraint as c
      where c.conrelid = ${`rowmill.${table}`}::text::regclass and c.conname like '%\\_state\\_is\\_known'`;
    expect([...row!.text.matchAll(/'(\w+)'/g)].map((match: string[]) => match[1]).sort()).toEqual(known);
  });

  it('is a constraint that is named for its rule', async () => {
    const unnamed = await sql`
      select c.conrelid::regclass::text as table, c.conname from pg_constraint as c
      where c.connamespace = 'rowmill'::regnamespace and c.contype = 'c' and c.conname ~ '_check\\d*$'`;
    expect(unnamed).toEqual([]);
  });
});
