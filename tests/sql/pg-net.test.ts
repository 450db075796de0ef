import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import { createPgNetDatabase, type PgNet } from '../support/pg-net.ts';
import { waitFor } from '../support/service.ts';

type Seen = { method: string; url: string; headers: IncomingMessage['headers']; body: string };
type Kept = {
  status_code: number | null;
  content_type: string | null;
  headers: Record<string, string> | null;
  content: string | null;
  timed_out: boolean;
  error_msg: string | null;
  created: Date;
};

/** What Rowmill relies on in pg_net: held against the stand-in, and against pg_net itself where the server has it. */
describe('pg_net', () => {
  let database: TestDatabase & { pgNet: PgNet };
  let sql: TestDatabase['sql'];
  let server: Server;
  let url: string;
  const seen: Seen[] = [];
  let answer: (response: ServerResponse, request: Seen) => void;

  beforeAll(async () => {
    database = await createPgNetDatabase();
    sql = database.sql;
    server = createServer(async (incoming, response) => {
      const parts: Buffer[] = [];
      for await (const part of incoming) parts.push(part as Buffer);
      const body = Buffer.concat(parts).toString();
      const request = { method: incoming.method!, url: incoming.url!, headers: incoming.headers, body };
      seen.push(request);
      answer(response, request);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    await database.drop();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  beforeEach(() => {
    seen.length = 0;
    answer = (response) => response.setHeader('Content-Type', 'application/json').end('{"fine": true}');
  });

  async function post(path: string, options: { body?: unknown; timeoutMs?: number } = {}): Promise<number> {
    const [row] = await sql`
      select net.http_post(url => ${url + path}, body => ${sql.json((options.body ?? {}) as never)}, timeout_milliseconds => ${options.timeoutMs ?? 5000}) as id`;
    return row!.id;
  }
  const answerOf = (id: number) =>
    waitFor(`the answer of request ${id}`, async () => {
      const [row] = await sql<Kept[]>`select * from net._http_response where id = ${id}`;
      return row;
    });

  it('has http_post with these arguments and defaults', async () => {
    const [row] = await sql`
      select pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result
      from pg_proc as p where p.oid = 'net.http_post'::text::regproc`;
    expect(row).toEqual({
      arguments:
        "url text, body jsonb DEFAULT '{}'::jsonb, params jsonb DEFAULT '{}'::jsonb, headers jsonb DEFAULT '{\"Content-Type\": \"application/json\"}'::jsonb, timeout_milliseconds integer DEFAULT 5000",
      result: 'bigint',
    });
    const others = await sql`
      select p.oid::regprocedure::text as name from pg_proc as p
      where p.pronamespace = 'net'::regnamespace and p.proname in ('http_get', 'http_delete', 'check_worker_is_up', 'wake') order by 1`;
    expect(others.map((one) => one.name)).toEqual([
      'net.check_worker_is_up()',
      'net.http_delete(text,jsonb,jsonb,integer,jsonb)',
      'net.http_get(text,jsonb,jsonb,integer)',
      'net.wake()',
    ]);
  });

  it('keeps queue and answers in unlogged tables of these columns', async () => {
    const rows = await sql`
      select c.relname as table, c.relpersistence as persistence, array_agg(a.attname || ' ' || format_type(a.atttypid, null) order by a.attnum) as columns
      from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where c.oid in ('net.http_request_queue'::regclass, 'net._http_response'::regclass)
      group by c.oid order by 1`;
    expect(rows).toEqual([
      {
        table: '_http_response',
        persistence: 'u',
        columns: [
          'id bigint',
          'status_code integer',
          'content_type text',
          'headers jsonb',
          'content text',
          'timed_out boolean',
          'error_msg text',
          'created timestamp with time zone',
        ],
      },
      {
        table: 'http_request_queue',
        persistence: 'u',
        columns: [
          'id bigint',
          'method net.http_method',
          'url text',
          'headers jsonb',
          'body bytea',
          'timeout_milliseconds integer',
        ],
      },
    ]);
  });

  it('is open to everybody, headers that wait included', async () => {
    const [row] = await sql`
      select has_schema_privilege('public', 'net', 'usage') as schema,
        has_table_privilege('public', 'net.http_request_queue', 'select') as queue,
        has_table_privilege('public', 'net._http_response', 'select') as answers,
        has_function_privilege('public', 'net.http_post'::text::regproc, 'execute') as post`;
    expect(row).toEqual({ schema: true, queue: true, answers: true, post: true });
  });

  it('posts JSON with the headers given, and keeps what came back', async () => {
    const [row] = await sql`
      select net.http_post(url => ${`${url}/a`}, body => '{"n": [1, null, "é"]}', headers => '{"content-type": "application/json", "webhook-id": "x"}') as id`;
    const kept = await answerOf(row!.id);
    expect(kept).toMatchObject({
      ...{ status_code: 200, content_type: 'application/json', content: '{"fine": true}' },
      ...{ timed_out: false, error_msg: null },
      headers: { 'Content-Type': 'application/json', Date: expect.stringMatching(/GMT$/) },
    });
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ method: 'POST', url: '/a', body: '{"n": [1, null, "é"]}' });
    expect(seen[0]!.headers).toMatchObject({
      'webhook-id': 'x',
      'user-agent': expect.stringMatching(/^pg_net\//),
    });
  });

  it('adds the content type where headers lack it, and refuses another one', async () => {
    const [row] = await sql`select net.http_post(url => ${url}, headers => '{"x": "y"}') as id`;
    await answerOf(row!.id);
    expect(seen[0]!.headers).toMatchObject({ x: 'y', 'content-type': 'application/json' });
    await expect(
      sql`select net.http_post(url => ${url}, headers => '{"Content-Type": "text/plain"}')`,
    ).rejects.toMatchObject({ code: 'P0001' });
  });

  it('puts params into the url, which gets a path', async () => {
    const [row] = await sql`
      select net.http_get(${`${url}?a=1`}, params => '{"b": "x y&é"}') as id`;
    await answerOf(row!.id);
    // Newer versions of libcurl write the digits large.
    expect(seen[0]).toMatchObject({
      method: 'GET',
      url: expect.stringMatching(/^\/\?a=1&b=x%20y%26%c3%a9$/i),
    });
  });

  it('keeps in its queue, for a transaction of whoever asks, the whole address', async () => {
    await sql
      .begin(async (tx) => {
        await tx`select net.http_post('http://worker.invalid', params => '{"a": "b"}')`;
        await tx`select net.http_post('http://worker.invalid/v1/chunks', timeout_milliseconds => 1)`;
        expect(
          await tx`select method, url, timeout_milliseconds from net.http_request_queue order by id`,
        ).toEqual([
          { method: 'POST', url: 'http://worker.invalid/?a=b', timeout_milliseconds: 5000 },
          { method: 'POST', url: 'http://worker.invalid/v1/chunks', timeout_milliseconds: 1 },
        ]);
        throw new Error('roll back');
      })
      .catch((error: Error) => expect(error.message).toBe('roll back'));
  });

  it('sends after the commit, and nothing of what was rolled back', async () => {
    const ids = await sql.begin(async (tx) => {
      const [row] = await tx`select net.http_post(${`${url}/committed`}) as id`;
      // What another session does is delivered meanwhile.
      await answerOf(await post('/meanwhile'));
      expect(seen.map((request) => request.url)).toEqual(['/meanwhile']);
      return row!.id as number;
    });
    await answerOf(ids);
    await sql
      .begin(async (tx) => {
        await tx`select net.http_post(${`${url}/rolled-back`})`;
        throw new Error('roll back');
      })
      .catch(() => {});
    await answerOf(await post('/last'));
    expect(seen.map((request) => request.url)).toEqual(['/meanwhile', '/committed', '/last']);
  });

  it('delivers a body of more than a megabyte', async () => {
    const id = await post('/large', { body: { fill: 'x'.repeat(1_100_000) } });
    expect(await answerOf(id)).toMatchObject({ status_code: 200 });
    expect(JSON.parse(seen[0]!.body).fill).toHaveLength(1_100_000);
  });

  it('keeps what a server refused with, and does not repeat it', async () => {
    answer = (response) => response.writeHead(503).end('full');
    const id = await post('/refused');
    expect(await answerOf(id)).toMatchObject({ status_code: 503, content: 'full', timed_out: false });
    answer = (response) => response.end();
    // The next round is over: there was nothing left of the first.
    expect(await answerOf(await post('/next'))).toMatchObject({ status_code: 200, content: null });
    expect(seen.map((request) => request.url)).toEqual(['/refused', '/next']);
    expect(await sql`select from net.http_request_queue`).toEqual([]);
  });

  it('gives up after the time given, and says so', async () => {
    const silent: ServerResponse[] = [];
    answer = (response) => silent.push(response);
    const id = await post('/silent', { timeoutMs: 300 });
    expect(await answerOf(id)).toMatchObject({
      ...{ status_code: null, content: null, headers: null, timed_out: true },
      error_msg: expect.stringMatching(/^Timeout of 300 ms reached\. Total time: \d+\.\d+ ms/),
    });
    expect(seen).toHaveLength(1);
  });

  it('says where nobody listens, where a name is unknown and where an answer breaks off', async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const [row] = await sql`
      select net.http_post(${`http://127.0.0.1:${port}/`}) as refused, net.http_post('http://no-such-host.invalid/') as unknown`;
    expect(await answerOf(row!.refused)).toMatchObject({
      ...{ status_code: null, timed_out: false },
      error_msg: expect.stringMatching(/^Could(n't| not) connect to server/),
    });
    expect(await answerOf(row!.unknown)).toMatchObject({
      ...{ status_code: null, timed_out: false },
      error_msg: expect.stringMatching(/^Could(n't| not) resolve host ?name/),
    });
    answer = (response) => response.destroy();
    expect(await answerOf(await post('/broken'))).toMatchObject({
      ...{ status_code: null, timed_out: false },
      error_msg: expect.stringContaining('nothing'),
    });
  });

  it('follows a redirect, which turns a post into a get', async () => {
    answer = (response, request) => {
      if (request.url === '/old') response.writeHead(301, { Location: `${url}/new` }).end();
      else response.writeHead(405).end();
    };
    expect(await answerOf(await post('/old'))).toMatchObject({ status_code: 405 });
    expect(seen.map(({ method, url: path }) => `${method} ${path}`)).toEqual(['POST /old', 'GET /new']);
  });

  it('sends what waits in one round at once, and shows no answer before the slowest', async () => {
    const open: ServerResponse[] = [];
    answer = (response) => open.push(response);
    const ids = await sql.begin(async (tx) => {
      const rows = await tx<{ id: number }[]>`select net.http_post(${url}) as id from generate_series(1, 3)`;
      return rows.map((row) => row.id);
    });
    await waitFor('all three are under way', async () => open.length === 3);
    open[0]!.end('first');
    open[1]!.end('second');
    expect(await sql`select from net._http_response where id = any (${ids})`).toEqual([]);
    open[2]!.end('third');
    const kept = await Promise.all(ids.map(answerOf));
    expect(kept.map((one) => one.status_code)).toEqual([200, 200, 200]);
    // Their time is the round's beginning, not that of the answer.
    expect(new Set(kept.map((one) => one.created.getTime())).size).toBe(1);
  });

  it('is up while its worker is', async () => {
    await sql`select net.check_worker_is_up()`;
    const { deliverer } = database.pgNet;
    if (deliverer === null) return;
    await deliverer.stop();
    await expect(sql`select net.check_worker_is_up()`).rejects.toMatchObject({
      message: expect.stringContaining('not up'),
    });
    const id = await post('/later');
    await deliverer.start();
    expect(await answerOf(id)).toMatchObject({ status_code: 200 });
  });
});

describe('the deliverer of the stand-in', () => {
  let database: TestDatabase & { pgNet: PgNet };
  beforeAll(async () => {
    database = await createPgNetDatabase();
  });
  afterAll(() => database.drop());

  it('drops what it is told to, and forgets all in a crash', async (context) => {
    const { sql, pgNet } = database;
    if (pgNet.deliverer === null) return context.skip('the real pg_net cannot be told to');
    const idOf = async () => (await sql`select net.http_get('http://127.0.0.1:1/') as id`)[0]!.id as number;
    const found = async (id: number) => (await sql`select from net._http_response where id = ${id}`).length;
    pgNet.deliverer.dropNext(1);
    const dropped = await idOf();
    await waitFor('it is taken', async () => (await sql`select from net.http_request_queue`).length === 0);
    const sent = await idOf();
    await waitFor('the next is sent', () => found(sent));
    expect(await found(dropped)).toBe(0);
    await pgNet.deliverer.crash();
    expect(await found(sent)).toBe(0);
    expect(await idOf()).toBe(1);
  });
});
