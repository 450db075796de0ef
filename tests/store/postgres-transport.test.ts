import { readdir } from 'node:fs/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isDatabaseAway, RowmillError } from '../../src/errors.ts';
import { migrationsDirectory } from '../../src/store/migrate.ts';
import { createPostgresTransport } from '../../src/store/postgres-transport.ts';
import type { Transport } from '../../src/store/transport.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitFor } from '../support/service.ts';

const echoes = `
  create function rowmill.echo_rows(rows jsonb) returns jsonb language sql as 'select rows';
  create function rowmill.echo_polls(polls jsonb) returns jsonb language sql as 'select polls';
  create function rowmill.echo_left_over(left_over jsonb) returns jsonb language sql as 'select left_over';
  create function rowmill.echo_leases(leases text[]) returns jsonb language sql as 'select to_jsonb(leases)';
  create function rowmill.echo_text(problem text) returns text language sql as 'select problem';
  create function rowmill.echo_id(id bigint) returns bigint language sql as 'select id';
  create function rowmill.echo_flag(flag boolean) returns boolean language sql as 'select flag';
  create function rowmill.echo_ids(chunk_ids bigint[]) returns jsonb language sql as 'select to_jsonb(chunk_ids)';
  create function rowmill.ids() returns table (id bigint, name text) language sql
    as 'values (1, ''one''), (9007199254740991, ''many''), (null, null)';
  create function rowmill.nothing() returns setof bigint language sql as 'select 1 where false';
  create function rowmill.no_value() returns void language sql as '';
  create function rowmill.refuse() returns integer language plpgsql
    as 'begin raise exception using errcode = ''RM301'', message = ''not yours'', detail = ''because'', hint = ''let go''; end';
  create function rowmill.pid() returns integer language sql as 'select pg_catalog.pg_backend_pid()';
  create function rowmill.wait_for_ever() returns void language sql as 'select pg_catalog.pg_sleep(600)';
  create function rowmill.prepared(id bigint) returns bigint language sql volatile
    as 'select count(*) from pg_catalog.pg_prepared_statements where statement like ''%rowmill.prepared%''';
`;

describe('the transport over postgres.js', () => {
  let database: TestDatabase;
  let transport: Transport;
  beforeAll(async () => {
    database = await createDatabase();
    await database.sql.unsafe(echoes);
    transport = createPostgresTransport({ url: database.url, maxConnections: 1 });
  });
  afterAll(async () => {
    await transport.close(1000);
    await database.drop();
  });

  it('gives ids as numbers, in rows, values and arrays', async () => {
    expect(await transport.rows('ids', {})).toEqual([
      { id: 1, name: 'one' },
      { id: Number.MAX_SAFE_INTEGER, name: 'many' },
      { id: null, name: null },
    ]);
    expect(await transport.value('echo_id', { id: Number.MAX_SAFE_INTEGER })).toBe(Number.MAX_SAFE_INTEGER);
    expect(await transport.value('echo_ids', { chunk_ids: [3, 1, 2 ** 40] })).toEqual([3, 1, 2 ** 40]);
  });

  it.each([
    ['a list of objects', [{ n: 0, hash: 'abc' }]],
    ['an empty list', []],
    ['unicode', [{ text: 'Zoë 😀 𝔘 \u2028 \u0085 \u00a0 ‮ العربية' }]],
    ['quotes and backslashes', [{ '"': '\\"\'\\\\n\n\t{}[]$1::text' }]],
    ['nesting', { a: [{ b: [[1, [null]], { c: { d: true } }] }], e: {} }],
    ['a text', 'only a text'],
    ['a text that is JSON', '{"a":1}'],
    ['a number', 1.5],
    ['true', true],
  ])('carries jsonb: %s', async (_what, value) => {
    expect(await transport.value('echo_rows', { rows: value })).toEqual(value);
  });

  it('carries a large document', async () => {
    const rows = Array.from({ length: 20_000 }, (_, n) => ({ n, input: { title: `film ${n}` } }));
    expect(await transport.value('echo_rows', { rows })).toEqual(rows);
  });

  it('carries arrays of integers, the empty one included', async () => {
    expect(await transport.value('echo_ids', { chunk_ids: [] })).toEqual([]);
    expect(await transport.value('echo_ids', { chunk_ids: [0, 7, 49_999] })).toEqual([0, 7, 49_999]);
  });

  it('carries the names of leases, none included', async () => {
    expect(await transport.value('echo_leases', { leases: [] })).toEqual([]);
    const leases = ['host-1-ab/1', 'a, b/2', '{null}/3'];
    expect(await transport.value('echo_leases', { leases })).toEqual(leases);
  });

  it.each([
    'echo_text:problem',
    'echo_rows:rows',
    'echo_ids:chunk_ids',
    'echo_leases:leases',
    'echo_polls:polls',
    'echo_left_over:left_over',
    'echo_id:id',
    'echo_flag:flag',
  ])('carries null and what is not there: %s', async (call) => {
    const [name, arg] = call.split(':') as [string, string];
    expect(await transport.value(name, { [arg]: null })).toBeNull();
    expect(await transport.value(name, { [arg]: undefined })).toBeNull();
  });

  it('carries text as it is, save for what no Postgres text can hold', async () => {
    const text = 'it\'s "5" $1 \\x00 😀';
    expect(await transport.value('echo_text', { problem: text })).toBe(text);
    expect(await transport.value('echo_text', { problem: 'a\0b\ud800c' })).toBe('a\u2400b\ufffdc');
    const polls = [{ batch_id: 1, provider_errors: [{ code: null, message: 'a\0b\ud800c', line: 1 }] }];
    expect(await transport.value('echo_polls', { polls })).toEqual([
      { batch_id: 1, provider_errors: [{ code: null, message: 'a\u2400b\ufffdc', line: 1 }] },
    ]);
  });

  it('carries false and true as what they are', async () => {
    expect(await transport.value('echo_flag', { flag: false })).toBe(false);
    expect(await transport.value('echo_flag', { flag: true })).toBe(true);
  });

  it('gives null where a function returns no row, and no rows as an empty list', async () => {
    expect(await transport.value('nothing', {})).toBeNull();
    expect(await transport.rows('nothing', {})).toEqual([]);
    await transport.value('no_value', {});
  });

  it('lets errors through with code, message, detail and hint, and goes on', async () => {
    const error = await transport.value('refuse', {}).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(postgres.PostgresError);
    expect(error).toMatchObject({ code: 'RM301', message: 'not yours', detail: 'because', hint: 'let go' });
    await expect(transport.value('no_such_function', {})).rejects.toMatchObject({ code: '42883' });
    await expect(transport.value('echo_id', { wrong: 1 })).rejects.toMatchObject({ code: '42883' });
    expect(await transport.value('echo_id', { id: 1 })).toBe(1);
  });

  it('rejects where the database cannot be reached, and says why', async () => {
    const nowhere = createPostgresTransport({ url: 'postgres://nobody@127.0.0.1:1/nowhere' });
    const away = { code: 'database_unreachable', fields: { cause: 'ECONNREFUSED' } };
    await expect(nowhere.value('tick', {})).rejects.toMatchObject(away);
    await expect(nowhere.rows('tick', {})).rejects.toMatchObject(away);
    await expect(nowhere.missingMigrations()).rejects.toMatchObject(away);
    await expect(nowhere.value('tick', {})).rejects.toThrow('ECONNREFUSED');
    await nowhere.close(10);
  });

  it('rejects so where the connection is lost in the middle of a call, and connects anew by itself', async () => {
    const pid = await transport.value<number>('pid', {});
    const call = transport.value('wait_for_ever', {}).catch((error: unknown) => error);
    await waitFor('the call runs', async () => {
      const rows = await database.sql`
        select from pg_stat_activity where pid = ${pid} and query like '%wait_for_ever%' and state = 'active'`;
      return rows.length === 1;
    });
    await database.sql`select pg_terminate_backend(${pid})`;
    const error = await call;
    expect(error).toBeInstanceOf(RowmillError);
    expect(isDatabaseAway(error)).toBe(true);
    // A call that comes before the connection is seen to be gone may fail with it.
    const again = await waitFor('a call succeeds', () =>
      transport.value<number>('pid', {}).catch(() => null),
    );
    expect(again).not.toBe(pid);
  });

  it('finds no migration missing in a database that has them all, and each in one that has none', async () => {
    expect(await transport.missingMigrations()).toEqual([]);
    const empty = await createDatabase({ migrated: false });
    const bare = createPostgresTransport({ url: empty.url });
    const missing = await bare.missingMigrations();
    await bare.close(1000);
    await empty.drop();
    const files = (await readdir(migrationsDirectory)).sort();
    expect(missing).toEqual(files.map((file) => file.split('_')[0]));
  });

  it('prepares its statements, but not through a pooler of transactions, where all works the same', async () => {
    await transport.value('prepared', { id: 1 });
    expect(await transport.value<number>('prepared', { id: 1 })).toBeGreaterThan(0);
    const pooled = createPostgresTransport({ url: `${database.url}?pgbouncer=true`, maxConnections: 1 });
    await pooled.value('prepared', { id: 1 });
    expect(await pooled.value('prepared', { id: 1 })).toBe(0);
    expect(await pooled.value('echo_id', { id: 5 })).toBe(5);
    expect(await pooled.value('echo_ids', { chunk_ids: [1, 2] })).toEqual([1, 2]);
    expect(await pooled.value('echo_rows', { rows: [{ a: 'ß' }] })).toEqual([{ a: 'ß' }]);
    expect(await pooled.value('echo_flag', { flag: true })).toBe(true);
    await pooled.close(1000);
  });
});
