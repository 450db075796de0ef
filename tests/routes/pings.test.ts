import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { pgNetStub } from '../support/pg-net-stub.ts';
import { ingestSecret } from '../support/service.ts';
import { refusal } from '../support/sql-factories.ts';
import { type BareApp, startBareApp } from './bare-app.ts';

describe('a ping', () => {
  let app: BareApp;
  beforeAll(async () => {
    app = await startBareApp();
  });
  afterAll(() => app.close());

  const post = (body: string, at = new Date()) =>
    app.post(body, {
      'webhook-id': 'ping_1',
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': new Webhook(ingestSecret).sign('ping_1', at, body),
    });

  it('is answered with its number and the time, and touches no database', async () => {
    const from = Date.now();
    const answer = await post('{"ping": 7, "fill": "xxx"}');
    expect(answer).toMatchObject({ status: 200, body: { ping: 7 } });
    expect(Object.keys(answer.body)).toEqual(['ping', 'now']);
    const now = Date.parse(answer.body.now);
    expect(now).toBeGreaterThanOrEqual(from);
    expect(now).toBeLessThanOrEqual(Date.now());
    expect(await post('{"ping": 8}')).toMatchObject({ status: 200, body: { ping: 8 } });
    expect(app.asked).toEqual([]);
  });

  it('of more than a megabyte is answered', async () => {
    const body = JSON.stringify({ ping: 9, fill: 'x'.repeat(1_100_000) });
    expect(await post(body)).toMatchObject({ status: 200, body: { ping: 9 } });
  });

  it.each([
    ['a number that is none', { ping: 'seven' }],
    ['a number below 1', { ping: 0 }],
    ['a fill that is no text', { ping: 1, fill: 1 }],
    ['a key of a chunk', { ping: 1, chunk_id: 1 }],
  ])('with %s is refused with 422 as a ping', async (_what, body) => {
    const answer = await post(JSON.stringify(body));
    expect(answer).toMatchObject({
      status: 422,
      body: { error: { code: 'invalid_ping', message: expect.stringContaining('not a ping: body/') } },
    });
  });

  it('leaves the words for a chunk that is none as they were', async () => {
    expect(await post('{"pipeline": "films"}')).toMatchObject({
      status: 422,
      body: { error: { code: 'invalid_chunk', message: expect.stringContaining('body/chunk_id') } },
    });
  });

  it('is refused without a signature, and with another code where the clocks differ', async () => {
    expect(await app.post('{"ping": 1}', {})).toMatchObject({
      status: 401,
      body: { error: { code: 'bad_signature' } },
    });
    for (const minutes of [-6, 6]) {
      expect(await post('{"ping": 1}', new Date(Date.now() + minutes * 60_000))).toMatchObject({
        status: 401,
        body: { error: { code: 'bad_timestamp' } },
      });
    }
  });

  it('stands in the OpenAPI document beside the chunk', async () => {
    const { body, responses } = await app.operation('/v1/chunks');
    expect(body.anyOf.map((form: { required: string[] }) => form.required)).toEqual([
      ['chunk_id', 'pipeline'],
      ['ping'],
    ]);
    expect(JSON.stringify(responses['200'])).toContain('"now"');
  });
});

describe('post_ping', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
  });
  afterAll(() => database.drop());

  it('posts nothing where nothing can be posted', async () => {
    const [row] = await sql`select rowmill.post_ping('ring') as id`;
    expect(row!.id).toBeNull();
    expect(await sql`select from rowmill.pings`).toEqual([]);
  });

  it('posts a signed body of the length that was asked for, and keeps the last hundred', async () => {
    await sql.unsafe(pgNetStub);
    await sql`select rowmill.set_endpoint('http://127.0.0.1:8787', ${ingestSecret})`;
    const [row] = await sql`select rowmill.post_ping('doctor', 1000) as id`;
    const [ping] = await sql`
      select q.headers, convert_from(q.body, 'UTF8') as body, p.bytes
      from rowmill.pings as p join net.http_request_queue as q on q.id = p.request_id where p.id = ${row!.id}`;
    expect(ping!.headers['webhook-id']).toBe(`ping_${row!.id}`);
    expect(new Webhook(ingestSecret).verify(ping!.body, ping!.headers)).toEqual({
      ping: row!.id,
      fill: 'x'.repeat(1000),
    });
    expect(ping!.bytes).toBe(ping!.body.length);
    await sql`select rowmill.post_ping('ring') from generate_series(1, 120)`;
    const [kept] = await sql`select count(*)::integer as count, max(id) as last from rowmill.pings`;
    expect(kept).toEqual({ count: 100, last: row!.id + 120 });
  });

  it('knows two purposes', async () => {
    expect(await refusal(sql`select rowmill.post_ping('fun')`)).toMatchObject({
      constraint_name: 'pings_purpose_is_known',
    });
  });

  it('aims elsewhere once the endpoint or the secret is another', async () => {
    const aim = async () => (await sql`select rowmill.ping_aim() as aim`)[0]!.aim as string | null;
    const first = await aim();
    expect(first).toMatch(/^[0-9a-f]{8}$/);
    await sql`select rowmill.set_endpoint('http://127.0.0.1:8788')`;
    const second = await aim();
    expect(second).not.toBe(first);
    await sql`select rowmill.set_endpoint('http://127.0.0.1:8788', ${`whsec_${Buffer.alloc(32, 7).toString('base64')}`})`;
    expect(await aim()).not.toBe(second);
    await sql`update rowmill.secrets set value = 'whsec_!'`;
    expect(await aim()).toBeNull();
  });
});
