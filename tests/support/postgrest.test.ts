import { createClient } from '@supabase/supabase-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from './database.ts';
import { signJwt } from './jwt.ts';
import { type Postgrest, startPostgrest } from './postgrest.ts';
import { waitFor } from './service.ts';

const schema = `
  create schema hidden;
  create function hidden.secret() returns integer language sql as 'select 1';
  create table public.counts (id integer primary key, n integer not null);
  insert into public.counts values (1, 0);
  grant select, insert, update on public.counts to service_role;
  create function public.add(id integer, by integer default 1) returns integer language sql
    as 'update public.counts as c set n = c.n + add.by where c.id = add.id returning n';
  create function public.add(id integer, times text) returns text language sql as 'select times || '' times''';
  create function public.add_rows(up_to integer) returns table (n integer) language plpgsql as
    'begin update public.counts as c set n = c.n + 1; return query select * from generate_series(1, add_rows.up_to); end';
  create function public.nobody_counts(up_to integer) returns setof integer stable language sql as 'select generate_series(1, up_to)';
  create function public.one() returns table (n integer) language sql as 'select 7';
  create function public.pair() returns public.counts language sql as 'select 5, 6';
  create function public.nothing() returns void language sql as '';
  create function public.refuse() returns void immutable language plpgsql as 'begin raise exception ''no''; end';
  create function public.no_value() returns text language sql as 'select null::text';
  create function public.echo(doc jsonb, ids bigint[], names text[]) returns jsonb language sql
    as 'select jsonb_build_object(''doc'', doc, ''ids'', to_jsonb(ids), ''names'', to_jsonb(names), ''is_null'', doc is null)';
  create function public.whoami() returns json language sql
    as 'select json_build_object(''role'', current_user, ''login'', session_user, ''sub'', current_setting(''request.jwt.claims'')::json ->> ''sub'', ''timeout'', current_setting(''statement_timeout''))';
  create function public.patient() returns text language sql set statement_timeout = '33s' as 'select current_setting(''statement_timeout'')';
  create function public.write_stable() returns integer stable language sql as 'select public.add(1)';
  create function public.wait() returns void language sql as 'select pg_sleep(600)';
  create function public.fail(code text) returns void language plpgsql
    as 'begin raise exception using errcode = fail.code, message = ''no'', detail = ''because'', hint = ''do not''; end';
  create function public.sleep() returns void language sql set statement_timeout = '50ms' as 'select pg_sleep(60)';
  create table public.notes (id bigint generated always as identity primary key, body text, n integer default 3);
  alter table public.notes enable row level security;
  grant insert, select on public.notes to anon, authenticated;
  create policy write on public.notes for insert to anon, authenticated with check (body <> 'forbidden');
  create policy read on public.notes for select to authenticated using (true);
`;

describe('the stand-in for the Data API', () => {
  let database: TestDatabase;
  let api: Postgrest;
  beforeAll(async () => {
    database = await createDatabase({ migrated: false });
    await database.sql.unsafe(schema);
    api = await startPostgrest({ databaseUrl: database.url, exposed: ['public'], maxRows: 1000 });
  });
  afterEach(() => {
    api.interfere = null;
    api.maxRows = 1000;
  });
  afterAll(async () => {
    await api.close();
    await database.drop();
  });

  const post = async (
    path: string,
    body: unknown = {},
    options: { key?: string; headers?: Record<string, string> } = {},
  ) => {
    const { key = api.serviceKey, headers } = options;
    const response = await fetch(`${api.url}/rest/v1/${path}`, {
      method: 'POST',
      headers: {
        apikey: key,
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        ...headers,
      },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await response.text();
    const range = response.headers.get('content-range');
    return { status: response.status, range, text, json: text === '' ? undefined : JSON.parse(text) };
  };

  it.each([
    ['rpc/add', { id: 1, by: 0 }, 200, 0],
    ['rpc/nobody_counts', { up_to: 3 }, 200, [1, 2, 3]],
    ['rpc/nobody_counts', { up_to: 0 }, 200, []],
    ['rpc/one', {}, 200, [{ n: 7 }]],
    ['rpc/pair', {}, 200, { id: 5, n: 6 }],
    ['rpc/no_value', {}, 200, null],
    ['rpc/nothing', {}, 204, undefined],
    // Called, although it returns nothing and says that it changes nothing.
    ['rpc/refuse', {}, 400, { code: 'P0001' }],
  ])('%s %j answers %i %j', async (path, body, status, json) => {
    expect(await post(path, body)).toMatchObject({ status, json });
  });

  it('turns arguments into the types that the function declares, null included', async () => {
    const doc = { a: [1.5, 'ü', null], big: 1 };
    expect((await post('rpc/echo', { doc, ids: [1, 2 ** 40], names: ['a, "b"', '{}'] })).json).toEqual({
      ...{ doc, ids: [1, 2 ** 40], names: ['a, "b"', '{}'], is_null: false },
    });
    expect((await post('rpc/echo', { doc: null, ids: [], names: null })).json).toEqual({
      ...{ doc: null, ids: [], names: null, is_null: true },
    });
    // As it came, digits and all.
    const exact = await post('rpc/echo', '{"doc":12345678901234567890.123456789,"ids":null,"names":null}');
    expect(exact.text).toContain('12345678901234567890.123456789');
  });

  it('chooses an overload by the names of the arguments, and fills in defaults', async () => {
    const before = (await post('rpc/add', { id: 1, by: 0 })).json;
    expect((await post('rpc/add', { id: 1 })).json).toBe(before + 1);
    expect((await post('rpc/add', { id: 1, times: 'two' })).json).toBe('two times');
    for (const [name, args] of [
      ['add', { by: 1 }],
      ['add', { id: 1, wrong: 1 }],
      ['no_such', {}],
      ['one', { n: 1 }],
    ] as const) {
      expect(await post(`rpc/${name}`, args)).toMatchObject({ status: 404, json: { code: 'PGRST202' } });
    }
  });

  it('does not see what is new before somebody notifies it', async () => {
    await database.sql`create function public.late() returns integer language sql as 'select 1'`;
    expect(await post('rpc/late')).toMatchObject({ status: 404, json: { code: 'PGRST202' } });
    await database.sql`notify pgrst, 'reload schema'`;
    await waitFor('it sees the function', async () => (await post('rpc/late')).status === 200);
  });

  it('cuts long answers, tells how many rows there are where it is asked, and runs the function once', async () => {
    api.maxRows = 10;
    const { sql } = database;
    const count = async () => (await sql`select n from counts where id = 1`)[0]!.n as number;
    const before = await count();
    const counted = { headers: { prefer: 'count=exact' } };
    const cut = await post('rpc/add_rows', { up_to: 25 }, counted);
    expect(cut).toMatchObject({ status: 206, range: '0-9/25' });
    expect(cut.json).toHaveLength(10);
    expect(await count()).toBe(before + 1);
    expect(await post('rpc/add_rows', { up_to: 25 })).toMatchObject({ status: 200, range: '0-9/*' });
    expect(await post('rpc/add_rows', { up_to: 10 }, counted)).toMatchObject({
      status: 200,
      range: '0-9/10',
    });
    expect(await post('rpc/add_rows', { up_to: 0 }, counted)).toMatchObject({ status: 200, range: '*/0' });
    expect(await post('rpc/no_value', {}, counted)).toMatchObject({ status: 200, range: '0-0/1' });
    // Each of these ran to its end, cut or not.
    expect(await count()).toBe(before + 4);
  });

  it('shows no schema but those that are exposed', async () => {
    const hidden = { headers: { 'content-profile': 'hidden' } };
    const told = { status: 406, json: { code: 'PGRST106', message: 'Invalid schema: hidden' } };
    expect(await post('rpc/secret', {}, hidden)).toMatchObject(told);
    expect((await post('rpc/secret')).json.code).toBe('PGRST202');
  });

  it('works as the role of the token, under its settings, with its claims, and never as who logged in', async () => {
    const whoami = async (key: string) => (await post('rpc/whoami', {}, { key })).json;
    const login = 'authenticator';
    expect(await whoami(api.serviceKey)).toEqual({
      ...{ role: 'service_role', login, sub: null, timeout: '8s' },
    });
    expect(await whoami(api.secretKey)).toMatchObject({ role: 'service_role' });
    expect(await whoami(api.anonKey)).toEqual({ ...{ role: 'anon', login, sub: null, timeout: '3s' } });
    const key = api.keyFor('authenticated', { sub: 'me' });
    expect(await whoami(key)).toMatchObject({ role: 'authenticated', sub: 'me' });
    // Nothing is left of it for the next.
    const all = await Promise.all(Array.from({ length: 30 }, (_, at) => whoami(at % 2 ? api.anonKey : key)));
    expect(all.map(({ role }) => role)).toEqual(all.map((_, at) => (at % 2 ? 'anon' : 'authenticated')));
  });

  it('gives a function the time that it asks for, and ends it then', async () => {
    expect((await post('rpc/patient')).json).toBe('33s');
    const beganAt = performance.now();
    expect(await post('rpc/sleep')).toMatchObject({ status: 500, json: { code: '57014' } });
    // Not the role's 8 seconds.
    expect(performance.now() - beganAt).toBeLessThan(4000);
  });

  it('lets a function that is declared stable write nothing', async () => {
    expect(await post('rpc/write_stable')).toMatchObject({ status: 405, json: { code: '25006' } });
  });

  it.each([
    ['signed with another secret', () => signJwt({ role: 'service_role' }, 'another'), 'PGRST301'],
    ['no token', () => 'sb_secret_of_another_project', 'PGRST301'],
    ['over', () => api.keyFor('service_role', { exp: 1 }), 'PGRST303'],
    ['of a role that is not there', () => api.keyFor('no_such_role'), '22023'],
  ])('refuses a key that is %s', async (_what, key, code) => {
    expect(await post('rpc/whoami', {}, { key: key() })).toMatchObject({ status: 401, json: { code } });
  });

  it('takes who has no token for anon, and nobody without a key', async () => {
    const url = `${api.url}/rest/v1/rpc/whoami`;
    const anon = await fetch(url, { method: 'POST', headers: { apikey: 'x' }, body: '{}' });
    expect(await anon.json()).toMatchObject({ role: 'anon' });
    expect((await fetch(url, { method: 'POST', body: '{}' })).status).toBe(401);
  });

  it.each([
    ['P0001', 400],
    ['RM301', 400],
    ['23505', 409],
    ['08006', 503],
    ['40001', 500],
    ['57P01', 503],
    ['22P02', 400],
  ])('tells an error %s as %i, in PostgREST’s form', async (code, status) => {
    expect(await post('rpc/fail', { code })).toMatchObject({
      status,
      json: { code, message: 'no', details: 'because', hint: 'do not' },
    });
  });

  it('tells missing rights by 403, or 401 to who is nobody in particular', async () => {
    await database.sql`revoke execute on function public.one() from public`;
    const told = (key: string) => post('rpc/one', {}, { key });
    expect(await told(api.serviceKey)).toMatchObject({ status: 403, json: { code: '42501' } });
    expect(await told(api.anonKey)).toMatchObject({ status: 401, json: { code: '42501' } });
    await database.sql`grant execute on function public.one() to public`;
  });

  it('inserts one row or several under the policies of the role', async () => {
    const { anonKey: key } = api;
    expect(await post('notes', { body: 'one' }, { key })).toMatchObject({ status: 201, text: '' });
    expect(
      await post(
        'notes',
        [
          { body: 'two', n: null },
          { body: 'three', n: 4 },
        ],
        { key },
      ),
    ).toMatchObject({
      status: 201,
    });
    expect(await post('notes', [], { key })).toMatchObject({ status: 201 });
    expect(await post('notes', {}, { key })).toMatchObject({ status: 401, json: { code: '42501' } });
    expect(await post('notes', [{ body: 'ok' }, { body: 'forbidden' }], { key })).toMatchObject({
      status: 401,
    });
    expect(await post('notes', [{ body: 'x' }, { n: 1 }], { key })).toMatchObject({
      status: 400,
      json: { code: 'PGRST102' },
    });
    expect((await post('notes', { wrong: 1 }, { key })).json.code).toBe('PGRST204');
    expect((await post('no_such', { wrong: 1 }, { key })).json.code).toBe('PGRST205');
    const returned = { headers: { prefer: 'return=representation' } };
    // Who may not see rows may not have them back.
    expect((await post('notes', { body: 'four' }, { key, ...returned })).status).toBe(401);
    const mine = await post('notes', { body: 'four' }, { key: api.keyFor('authenticated'), ...returned });
    expect(mine).toMatchObject({ status: 201, json: [{ body: 'four', n: 3 }] });
    const rows = await database.sql`select body, n from notes order by id`;
    expect(rows.map(({ body, n }) => `${body} ${n}`)).toEqual(['one 3', 'two null', 'three 4', 'four 3']);
  });

  it('reads a relation under the policies of the role', async () => {
    const read = async (key: string): Promise<unknown> =>
      (
        await fetch(`${api.url}/rest/v1/notes`, { headers: { apikey: key, authorization: `Bearer ${key}` } })
      ).json();
    expect(await read(api.anonKey)).toEqual([]);
    expect(await read(api.keyFor('authenticated'))).not.toEqual([]);
    expect(await read(api.serviceKey)).toMatchObject({ code: '42501' });
  });

  it('is a Data API to supabase-js', async () => {
    const client = createClient(api.url, api.serviceKey, { auth: { persistSession: false } });
    expect(await client.rpc('pair')).toMatchObject({ data: { id: 5, n: 6 }, error: null, status: 200 });
    const counted = await client.rpc('nobody_counts', { up_to: 3 }, { count: 'exact' });
    expect(counted).toMatchObject({ data: [1, 2, 3], count: 3 });
    expect(await client.rpc('fail', { code: 'RM301' })).toMatchObject({
      error: { code: 'RM301', message: 'no', details: 'because', hint: 'do not' },
    });
    expect(await client.schema('hidden').rpc('secret')).toMatchObject({ error: { code: 'PGRST106' } });
  });

  it('tells a lost connection as PostgREST does, and goes on with a new one', async () => {
    const asked = post('rpc/wait');
    await waitFor('the call runs', async () => {
      const ended = await database.sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where usename = 'authenticator' and datname = current_database() and state = 'active' and query like '%"wait"%'`;
      return ended.length === 1;
    });
    expect(await asked).toMatchObject({
      status: 503,
      json: { code: expect.stringMatching(/^(57P01|PGRST001)$/) },
    });
    await waitFor('it works again', async () => (await post('rpc/pair')).status === 200);
  });
});
