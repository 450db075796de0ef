import { createHmac, randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { pgNetStub } from '../support/pg-net-stub.ts';
import { ingestSecret } from '../support/service.ts';
import {
  alterPipeline,
  createFilms,
  createPipeline,
  emptyQueue,
  insertFilms,
  problemOf,
  queuedKeys,
  refusal,
  tick,
} from '../support/sql-factories.ts';

type Post = { url: string; headers: Record<string, string>; body: string; timeout_milliseconds: number };

describe('posting', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let id: number;
  let name: string;
  let table: string;
  let tables = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql.unsafe(pgNetStub);
    await sql`select rowmill.set_endpoint('http://127.0.0.1:8787', ${ingestSecret})`;
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    if (id) await emptyQueue(sql, id);
    tables += 1;
    name = `films_${tables}`;
    table = `public.${name}`;
    await createFilms(sql, table);
    id = await createPipeline(sql, { name, source: table, chunk_size: 10, prompt: '{{title}} {{note}}' });
    await sql`truncate net.http_request_queue`;
    await sql`update rowmill.settings set post_rows = default, post_max_bytes = default`;
  });

  const posts = async () =>
    await sql<Post[]>`
      select url, headers, convert_from(body, 'UTF8') as body, timeout_milliseconds from net.http_request_queue order by id`;
  const chunks = async () =>
    await sql`select * from rowmill.chunks where pipeline_id = ${id} and state = 'waiting' order by id`;

  it('a post verifies as Standard Webhooks has it, over the very bytes of its body', async () => {
    await insertFilms(sql, 1, 3, table);
    await sql.unsafe(`update ${table} set note = E'Amélie "映画" \\\\ \\n 🎬' where id = 2`);
    await sql`select rowmill.flush(${name})`;
    const [post] = await posts();
    const chunk = (await chunks())[0]!;
    expect(new Webhook(ingestSecret).verify(post!.body, post!.headers)).toMatchObject({
      chunk_id: chunk.id,
      pipeline: name,
      rows: [
        { n: 0, input: { title: 'film 1', note: null } },
        { n: 1, input: { title: 'film 2', note: 'Amélie "映画" \\ \n 🎬' } },
        { n: 2 },
      ],
    });
    expect(post!.headers).toMatchObject({
      'Content-Type': 'application/json',
      'webhook-id': `chunk_${chunk.id}`,
    });
    expect(post).toMatchObject({ url: 'http://127.0.0.1:8787/v1/chunks', timeout_milliseconds: 10_000 });
    expect(chunk).toMatchObject({ posts: 1 });
    expect(() => new Webhook(ingestSecret).verify(`${post!.body} `, post!.headers)).toThrow();
  });

  it('a chunk that was formed before its pipeline was altered goes by its number alone', async () => {
    await insertFilms(sql, 1, 1, table);
    await sql`select rowmill.form_chunk(${id}, true)`;
    await alterPipeline(sql, name, { prompt: '{{note}}' });
    const [chunk] = await chunks();
    await sql`select rowmill.post_chunk(${chunk!.id})`;
    expect(JSON.parse((await posts())[0]!.body)).toEqual({ chunk_id: chunk!.id, pipeline: name });
  });

  it('the secret is in nothing that pg_net keeps', async () => {
    await insertFilms(sql, 1, 3, table);
    await sql`select rowmill.flush(${name})`;
    const all = JSON.stringify(await posts());
    expect(all).toContain('chunk_id');
    for (const form of [
      ingestSecret,
      ingestSecret.slice(6),
      Buffer.from(ingestSecret.slice(6), 'base64').toString(),
    ]) {
      expect(all).not.toContain(form);
    }
  });

  it.each([1, 32, 64, 65, 200])('hmac_sha256 is the HMAC of a key of %i bytes', async (length) => {
    const key = randomBytes(length);
    const message = randomBytes(300);
    const [row] = await sql`select rowmill.hmac_sha256(${message}, ${key}) as digest`;
    expect(row!.digest.equals(createHmac('sha256', key).update(message).digest())).toBe(true);
  });

  it('a statement that completes a chunk posts its number, without the rows', async () => {
    await insertFilms(sql, 1, 10, table);
    const [post] = await posts();
    expect(new Webhook(ingestSecret).verify(post!.body, post!.headers)).toEqual({
      chunk_id: (await chunks())[0]!.id,
      pipeline: name,
    });
  });

  it('post_rows = false posts the number alone', async () => {
    await sql`update rowmill.settings set post_rows = false`;
    await insertFilms(sql, 1, 3, table);
    await sql`select rowmill.flush(${name})`;
    expect(JSON.parse((await posts())[0]!.body)).not.toHaveProperty('rows');
  });

  it('a body that is too large goes without its rows', async () => {
    await sql`update rowmill.settings set post_max_bytes = 3000`;
    await insertFilms(sql, 1, 3, table);
    await sql.unsafe(`update ${table} set note = repeat('x', 2000)`);
    await sql`select rowmill.flush(${name})`;
    expect(JSON.parse((await posts())[0]!.body)).not.toHaveProperty('rows');
  });

  it('a body that only its last rows make too large goes without its rows', async () => {
    await sql`update rowmill.settings set post_max_bytes = 20000`;
    await sql`update rowmill.pipelines set chunk_size = 100 where id = ${id}`;
    await insertFilms(sql, 1, 40, table);
    await sql.unsafe(`update ${table} set note = repeat('x', 5000) where id > 30`);
    await sql`select rowmill.flush(${name})`;
    const [post] = await posts();
    expect(JSON.parse(post!.body)).not.toHaveProperty('rows');
    expect(new Webhook(ingestSecret).verify(post!.body, post!.headers)).toHaveProperty('chunk_id');
  });

  it('what nobody accepts is posted again, less and less often', async () => {
    await insertFilms(sql, 1, 3, table);
    await sql`select rowmill.flush(${name})`;
    const back = (interval: string) =>
      sql`update rowmill.chunks set posted_at = posted_at - ${interval}::text::interval where pipeline_id = ${id}`;
    const count = async () => (await posts()).length;
    await tick(sql);
    expect(await count()).toBe(1);
    await back('61 seconds');
    await tick(sql);
    expect(await count()).toBe(2);
    await back('61 seconds');
    await tick(sql);
    expect(await count()).toBe(2);
    await back('60 seconds');
    await tick(sql);
    expect(await count()).toBe(3);
    await sql`update rowmill.chunks set posts = 60 where pipeline_id = ${id}`;
    await back('59 minutes');
    await tick(sql);
    expect(await count()).toBe(3);
    await back('61 minutes');
    await tick(sql);
    expect(await count()).toBe(4);
  });

  it('what is accepted or paused is not posted again', async () => {
    await insertFilms(sql, 1, 10, table);
    await insertFilms(sql, 11, 20, table);
    await sql`update rowmill.chunks set posted_at = posted_at - interval '1 day' where pipeline_id = ${id}`;
    const [first] = await chunks();
    await sql`select rowmill.claim_chunk(${first!.id}, ${name}, 'w')`;
    await tick(sql);
    expect(await posts()).toHaveLength(3);
    await sql`update rowmill.chunks set posted_at = posted_at - interval '1 day' where pipeline_id = ${id}`;
    await sql`select rowmill.pause_pipeline(${name})`;
    await tick(sql);
    expect(await posts()).toHaveLength(3);
  });

  it('an http_post that raises leaves insert and chunk intact; the tick posts, and the problem goes', async () => {
    await sql.unsafe('alter table net.http_request_queue rename to hidden_queue');
    await insertFilms(sql, 1, 10, table);
    expect(await sql.unsafe(`select from ${table}`)).toHaveLength(10);
    expect(await queuedKeys(sql, id)).toHaveLength(10);
    expect(await chunks()).toHaveLength(1);
    expect(await problemOf(sql, name)).toContain('http_request_queue');
    await tick(sql);
    expect(await problemOf(sql, name)).toContain('http_request_queue');
    await sql.unsafe('alter table net.hidden_queue rename to http_request_queue');
    await tick(sql);
    expect(await posts()).toHaveLength(1);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it('a post that failed in a statement is made good by the tick, though no key waits', async () => {
    await sql.unsafe('alter table net.http_request_queue rename to hidden_queue');
    await insertFilms(sql, 1, 10, table);
    await sql.unsafe('alter table net.hidden_queue rename to http_request_queue');
    expect(await problemOf(sql, name)).toContain('a chunk waits for the tick');
    await tick(sql);
    expect(await posts()).toHaveLength(1);
    expect(await problemOf(sql, name)).toBeNull();
  });

  it('without pg_net nothing is posted, and set_endpoint says so', async () => {
    await sql.unsafe('alter schema net rename to hidden_net');
    try {
      await insertFilms(sql, 1, 10, table);
      await tick(sql);
      expect(await problemOf(sql, name)).toBeNull();
      expect(await chunks()).toMatchObject([{ posts: 0, posted_at: null }]);
      const [row] = await sql`select rowmill.set_endpoint('http://127.0.0.1:8787') as says`;
      expect(row!.says).toContain('pg_net is not installed');
    } finally {
      await sql.unsafe('alter schema hidden_net rename to net');
    }
  });

  describe('set_endpoint', () => {
    it.each([
      ['https://worker.example.com', 'https://worker.example.com/v1/chunks'],
      ['https://worker.example.com/', 'https://worker.example.com/v1/chunks'],
      ['http://127.0.0.1:8787/mill/chunks', 'http://127.0.0.1:8787/mill/chunks'],
    ])('%s is posted to as %s', async (given, url) => {
      const [row] = await sql`select rowmill.set_endpoint(${given}) as says`;
      expect(row!.says).toBe(`chunks are posted to ${url}`);
      await sql`select rowmill.set_endpoint('http://127.0.0.1:8787')`;
    });

    it('null stops posting', async () => {
      const [row] = await sql`select rowmill.set_endpoint(null) as says`;
      expect(row!.says).toBe('chunks are not posted; workers fetch them');
      await insertFilms(sql, 1, 10, table);
      expect(await posts()).toEqual([]);
      await sql`select rowmill.set_endpoint('http://127.0.0.1:8787')`;
    });

    it.each(['ftp://x', 'worker.example.com', 'http://', ''])('the url "%s" is refused', async (url) => {
      expect(await refusal(sql`select rowmill.set_endpoint(${url}, ${ingestSecret})`)).toMatchObject({
        code: 'RM109',
        detail: expect.stringMatching(/./),
        hint: expect.stringMatching(/./),
      });
    });

    it.each([
      'whsec_tooshort',
      'topsecrettopsecrettopsecrettopsecret',
      'whsec_topsecret!topsecrettopsecrettopsecret',
      'whsec_topsecrettopsecrettopsecrettopsecrettopse',
    ])('a malformed secret is refused, and is in no part of the error', async (secret) => {
      const error = await refusal(sql`select rowmill.set_endpoint('http://127.0.0.1:8787', ${secret})`);
      expect(error).toMatchObject({
        code: 'RM109',
        detail: expect.stringMatching(/./),
        hint: expect.stringMatching(/./),
      });
      const told = [error.message, error.detail, error.hint, error.where, error.stack].join(' ');
      expect(told).not.toContain(secret);
    });

    it('the secret that its hint makes is taken, and a url without any secret is refused', async () => {
      const [made] = await sql`
        select 'whsec_' || encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')), 'base64') as secret`;
      await sql`select rowmill.set_endpoint('http://127.0.0.1:8787', ${made!.secret})`;
      await sql`delete from rowmill.secrets`;
      expect(await refusal(sql`select rowmill.set_endpoint('http://127.0.0.1:8787')`)).toMatchObject({
        code: 'RM109',
        message: 'there is no secret yet',
      });
      await sql`select rowmill.set_endpoint('http://127.0.0.1:8787', ${ingestSecret})`;
    });
  });
});
