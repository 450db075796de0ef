import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RowmillError } from '../../src/errors.ts';
import { createStore } from '../../src/store/store.ts';
import { createSupabaseTransport } from '../../src/store/supabase-transport.ts';
import type { Transport } from '../../src/store/transport.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Postgrest, startPostgrest } from '../support/postgrest.ts';
import { queueFilms } from './conformance-cases.ts';

const key = 'a-very-secret-key';

describe('the transport over the Data API', () => {
  let answer: (request: IncomingMessage, response: ServerResponse) => unknown;
  let asked: { method: string | undefined; url: string | undefined; headers: IncomingMessage['headers'] }[];
  const server = createServer((request, response) => {
    const { method, url, headers } = request;
    asked.push({ method, url, headers });
    request.resume().on('end', () => answer(request, response));
  });
  let transport: Transport;
  let url: string;
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  beforeEach(() => {
    asked = [];
    transport = createSupabaseTransport({ url, key, timeoutMs: 300 });
  });
  afterEach(() => transport.close(10));
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const saying =
    (status: number, body: unknown, headers: Record<string, string> = {}) =>
    (_request: IncomingMessage, response: ServerResponse) =>
      response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
  const told = (code: string, message = 'a message') => ({ code, message, details: 'd', hint: null });

  it('posts to the function in schema rowmill, with the key, and nothing else', async () => {
    answer = saying(200, 'true');
    expect(await transport.value('close_chunk', { chunk_id: 1, worker: 'w' })).toBe(true);
    expect(asked).toMatchObject([
      {
        ...{ method: 'POST', url: '/rest/v1/rpc/close_chunk' },
        headers: { 'content-profile': 'rowmill', apikey: key, authorization: `Bearer ${key}` },
      },
    ]);
  });

  it.each([
    ['a gateway without a back end', 502, '<html>Bad gateway</html>', '502'],
    ['a gateway that is tired of waiting', 504, 'The upstream server is timing out', '504'],
    ['a project that is paused', 540, 'Project paused', '540'],
    ['a machine of Cloudflare’s', 522, '<html>', '522'],
    ['a limit on calls', 429, { message: 'too many requests' }, '429'],
    ['PostgREST without a database', 503, told('PGRST000'), 'PGRST000'],
    ['PostgREST that lost its database', 503, told('PGRST001'), 'PGRST001'],
    ['PostgREST without a schema cache', 503, told('PGRST002'), 'PGRST002'],
    ['PostgREST without a free connection', 504, told('PGRST003'), 'PGRST003'],
    ['Postgres that goes down', 503, told('57P01'), '57P01'],
    ['Postgres that is full', 503, told('53300'), '53300'],
  ])('takes %s for a database that is away, and does not call again', async (_what, status, body, cause) => {
    answer = saying(status, body);
    const away = { code: 'database_unreachable', fields: { cause } };
    await expect(transport.value('tick', {})).rejects.toMatchObject(away);
    await expect(transport.rows('claim_work', {})).rejects.toMatchObject(away);
    await expect(transport.missingMigrations()).rejects.toMatchObject(away);
    expect(asked).toHaveLength(3);
  });

  it.each([
    ['no answer at all', () => {}, 'TIMEOUT'],
    [
      'a body that does not end',
      (_: unknown, r: ServerResponse) => r.writeHead(200).write('[{"a":'),
      'TIMEOUT',
    ],
    [
      'a failure whose body does not end',
      (_: unknown, r: ServerResponse) => r.writeHead(503).write('{'),
      'TIMEOUT',
    ],
    ['a connection that breaks', (q: IncomingMessage) => q.socket.destroy(), 'UND_ERR_SOCKET'],
    [
      'a body that breaks off',
      (q: IncomingMessage, r: ServerResponse) => {
        r.writeHead(200, { 'content-length': '100' }).write('[1,');
        setTimeout(() => q.socket.destroy(), 20);
      },
      'UND_ERR_SOCKET',
    ],
  ])('takes %s for a database that is away, soon, and does not call again', async (_what, how, cause) => {
    answer = how as typeof answer;
    const beganAt = performance.now();
    const error = await transport.value('tick', {}).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'database_unreachable', fields: { cause } });
    expect(performance.now() - beganAt).toBeLessThan(2000);
    expect(asked).toHaveLength(1);
  });

  it.each([
    ['supabase_key', 401, told('PGRST301'), /SUPABASE_SERVICE_ROLE_KEY.*service_role or secret key/],
    ['supabase_key', 401, told('PGRST303', 'JWT expired'), /JWT expired/],
    ['supabase_key', 401, { message: 'Invalid API key', hint: 'x' }, /Invalid API key/],
    ['supabase_key', 401, told('42501', 'permission denied for schema rowmill'), /permission denied/],
    ['supabase_key', 403, 'Forbidden', /403/],
    ['schema_not_exposed', 406, told('PGRST106'), /Add rowmill to the Exposed schemas/],
    ['function_missing', 404, told('PGRST202'), /rowmill\.tick.*supabase db push.*notify pgrst/],
    ['supabase_url', 404, '<html>not found</html>', /SUPABASE_URL/],
    ['data_api_refused', 300, told('PGRST203'), /rowmill\.tick.*PGRST203: a message/],
    ['data_api_refused', 400, told('PGRST102'), /PGRST102/],
    ['data_api_refused', 200, '<html>a captive portal</html>', /rowmill\.tick.*JSON/],
  ])('raises %s for %i %j, says what to do, and shows no key', async (code, status, body, message) => {
    answer = saying(status, body);
    const error = await transport.value('tick', {}).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RowmillError);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(JSON.stringify([error, (error as Error).message, (error as Error).stack])).not.toContain(key);
  });

  it('counts the rows of an answer, and refuses one that was cut or that nobody counted', async () => {
    answer = saying(206, [{ n: 1 }, { n: 2 }], { 'content-range': '0-1/5' });
    await expect(transport.rows('claim_work', {})).rejects.toMatchObject({
      code: 'answer_cut',
      message:
        'rowmill.claim_work returned 5 rows, and 2 came. Raise "Max rows" in the Data API settings to 1000 or more.',
    });
    expect(asked[0]!.headers.prefer).toBe('count=exact');
    for (const headers of [{}, { 'content-range': '0-1/*' }]) {
      answer = saying(200, [{ n: 1 }, { n: 2 }], headers);
      await expect(transport.rows('claim_work', {})).rejects.toMatchObject({ code: 'answer_cut' });
    }
    answer = saying(200, [], { 'content-range': '*/0' });
    expect(await transport.rows('claim_work', {})).toEqual([]);
  });

  it('tells which migrations are missing: all of them where the function that says so is', async () => {
    answer = saying(404, told('PGRST202'));
    const all = await transport.missingMigrations();
    expect(all.length).toBeGreaterThan(0);
    answer = saying(200, ['20200101000000'], { 'content-range': '0-0/1' });
    expect(await transport.missingMigrations()).toEqual(all);
    answer = saying(200, all, { 'content-range': `0-${all.length - 1}/${all.length}` });
    expect(await transport.missingMigrations()).toEqual([]);
    answer = saying(403, told('42501'));
    await expect(transport.missingMigrations()).rejects.toMatchObject({
      code: 'rights_missing',
      message: expect.stringContaining('Apply the migrations'),
    });
  });

  it('takes no call once it is closed', async () => {
    await transport.close(10);
    await expect(transport.value('tick', {})).rejects.toMatchObject({ code: 'store_closed' });
    expect(asked).toEqual([]);
  });
});

describe('a claim over a Data API whose "Max rows" is too low', () => {
  let database: TestDatabase;
  let api: Postgrest;
  beforeAll(async () => {
    database = await createDatabase();
    api = await startPostgrest({ databaseUrl: database.url, maxRows: 2 });
    await queueFilms(database.sql, 5, { chunk_size: 1 });
    await database.sql`update rowmill.chunks set waits_for = 'rate', wait_reason = 'a test'`;
  });
  afterAll(async () => {
    await api.close();
    await database.drop();
  });

  it('is rejected with what to raise, instead of leaving what nobody knows of unsaid', async () => {
    const transport = createSupabaseTransport({ url: api.url, key: api.secretKey });
    const store = createStore(transport, 'w', 'test');
    const lease = await store.takeLease();
    await expect(lease.claimWork(8)).rejects.toMatchObject({
      code: 'answer_cut',
      fields: { rows: 5, came: 2 },
    });
    await transport.close(100);
  });

  it('gives a statement the time of the worker’s functions, not the 8 seconds of the API', async () => {
    const timeouts = await database.sql`
      select distinct 'statement_timeout=50s' = any (p.proconfig) as is_set from pg_proc as p
      where p.pronamespace = 'rowmill'::regnamespace and has_function_privilege('service_role', p.oid, 'execute')`;
    expect(timeouts).toEqual([{ is_set: true }]);
  });
});
