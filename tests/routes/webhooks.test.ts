import type { FastifyInstance } from 'fastify';
import pino from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildApp } from '../../src/app.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createOpenAiProvider } from '../../src/provider/openai.ts';
import { createPostgresTransport } from '../../src/store/postgres-transport.ts';
import { createStore } from '../../src/store/store.ts';
import type { Transport } from '../../src/store/transport.ts';
import type { Submission } from '../../src/submission/submission.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type SignedWebhook, signedWebhook, webhookSecret } from '../support/signed-webhook.ts';
import {
  createFilms,
  createPipeline,
  insertFilms,
  startBatch,
  takeChunks,
} from '../support/sql-factories.ts';

describe('POST /v1/webhooks/openai', () => {
  let database: TestDatabase;
  let batch: { id: number; provider: string };
  beforeAll(async () => {
    database = await createDatabase();
    const { sql } = database;
    await createFilms(sql);
    await createPipeline(sql);
    await insertFilms(sql, 1, 3);
    await sql`select rowmill.flush('films')`;
    const { batchId } = await startBatch(sql, await takeChunks(sql, 'films'));
    const [row] =
      await sql`select provider_batch_id from rowmill.batch_processing_details where id = ${batchId}`;
    batch = { id: batchId, provider: row!.provider_batch_id };
  });
  afterAll(() => database.drop());

  const cleanUps: (() => Promise<unknown>)[] = [];
  let app: FastifyInstance;
  /** What the worker asked of its database, and how often it was told to poll. */
  let asked: string[];
  let polls: number;
  let metrics: ReturnType<typeof createMetrics>;
  beforeEach(async () => {
    await database.sql`delete from rowmill.webhook_events`;
    await database.sql`update rowmill.batch_processing_details set poll_at = now() + interval '1 hour'`;
    app = await build();
  });
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  async function build(
    options: { secret?: string | undefined; url?: string } = {},
  ): Promise<FastifyInstance> {
    const { url = database.url } = options;
    const secret = 'secret' in options ? options.secret : webhookSecret;
    const transport = createPostgresTransport({ url });
    cleanUps.push(() => transport.close(10));
    asked = [];
    polls = 0;
    metrics = createMetrics();
    const noting: Transport = {
      ...transport,
      rows: (name, args) => {
        asked.push(name);
        return transport.rows(name, args);
      },
      value: (name, args) => {
        asked.push(name);
        return transport.value(name, args);
      },
    };
    const provider = createOpenAiProvider({
      apiKey: 'test',
      webhookSecret: secret,
      fetch: () => expect.fail('the provider was asked'),
    });
    const built = await buildApp({
      deps: { store: createStore(noting, 'w', 'test'), provider, logger: pino({ level: 'silent' }), metrics },
      submission: {} as Submission,
      ingestSecret: undefined,
      wakePoll: () => {
        polls += 1;
      },
      version: 'test',
    });
    cleanUps.push(() => built.close());
    return built;
  }
  const post = ({ payload, headers }: SignedWebhook) =>
    app.inject({ method: 'POST', url: '/v1/webhooks/openai', payload, headers });

  /** Every row of every table, byte for byte. */
  async function everything(): Promise<string> {
    const tables = await database.sql`
      select c.oid::regclass::text as name from pg_class as c
      where c.relkind in ('r', 'p') and c.relnamespace in ('rowmill'::regnamespace, 'public'::regnamespace) order by 1`;
    const parts = [];
    for (const { name } of tables) {
      const [row] = await database.sql.unsafe(
        `select coalesce(jsonb_agg(to_jsonb(t) || jsonb_build_object('xmin', t.xmin::text) order by t.ctid), '[]') as rows from ${name} as t`,
      );
      parts.push(`${name}: ${JSON.stringify(row!.rows)}`);
    }
    return parts.join('\n');
  }
  const isDue = async () => {
    const [row] =
      await database.sql`select poll_at <= now() as due from rowmill.batch_processing_details where id = ${batch.id}`;
    return row!.due as boolean;
  };
  const taken = async () => (await database.sql`select id from rowmill.webhook_events`).map(({ id }) => id);
  const counted = async (result: string) =>
    (await metrics.webhooks.get()).values.find(({ labels }) => labels.result === result)?.value ?? 0;

  it.each(['batch.completed', 'batch.failed', 'batch.expired', 'batch.cancelled'])(
    'takes %s as a hint: the batch is due, a poll is asked for, and nothing else has changed',
    async (type) => {
      const response = await post(signedWebhook(batch.provider, { type }));
      expect(response.statusCode).toBe(200);
      expect(response.json()).toEqual({ status: 'due' });
      expect(await isDue()).toBe(true);
      expect(polls).toBe(1);
      expect(await taken()).toEqual(['wh_1']);
      expect(await database.sql`select state, provider_status from rowmill.batch_processing_details`).toEqual(
        [{ state: 'running', provider_status: 'in_progress' }],
      );
      expect(await counted('due')).toBe(1);
    },
  );

  it('answers a repeated one with 200, and nothing happens', async () => {
    await post(signedWebhook(batch.provider));
    await database.sql`update rowmill.batch_processing_details set poll_at = now() + interval '1 hour'`;
    const before = await everything();
    polls = 0;
    const later = signedWebhook(batch.provider, { at: new Date(Date.now() + 2000) });
    const response = await post(later);
    expect(response.statusCode).toBe(200);
    expect(response.json()).toEqual({ status: 'known' });
    expect(polls).toBe(0);
    expect(await everything()).toBe(before);
  });

  it('takes another one for the same batch', async () => {
    await post(signedWebhook(batch.provider));
    await database.sql`update rowmill.batch_processing_details set poll_at = now() + interval '1 hour'`;
    expect((await post(signedWebhook(batch.provider, { id: 'wh_2' }))).json()).toEqual({ status: 'due' });
    expect(await isDue()).toBe(true);
    expect(polls).toBe(2);
  });

  it('does not know a batch until its id is recorded, and then takes the very same delivery', async () => {
    const { sql } = database;
    await sql`update rowmill.batch_processing_details set provider_batch_id = 'batch_not_yet' where id = ${batch.id}`;
    const before = await everything();
    const early = await post(signedWebhook(batch.provider));
    expect(early.statusCode).toBe(404);
    expect(early.json()).toMatchObject({ error: { code: 'unknown_batch' } });
    expect(polls).toBe(0);
    expect(await everything()).toBe(before);
    await sql`update rowmill.batch_processing_details set provider_batch_id = ${batch.provider} where id = ${batch.id}`;
    expect((await post(signedWebhook(batch.provider))).json()).toEqual({ status: 'due' });
    expect(polls).toBe(1);
  });

  const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);
  const otherSecret = `whsec_${Buffer.from('a stranger’s secret').toString('base64')}`;
  const without = (name: string): SignedWebhook => {
    const { payload, headers } = signedWebhook(batch.provider);
    const { [name]: _, ...rest } = headers;
    return { payload, headers: rest };
  };
  const forgeries: [string, () => SignedWebhook][] = [
    ['signed with another secret', () => signedWebhook(batch.provider, { secret: otherSecret })],
    [
      'whose body was changed',
      () => ({ ...signedWebhook('batch_x'), payload: signedWebhook(batch.provider).payload }),
    ],
    [
      'whose id was changed',
      () => {
        const signed = signedWebhook(batch.provider);
        return { ...signed, headers: { ...signed.headers, 'webhook-id': 'wh_2' } };
      },
    ],
    ['signed six minutes ago', () => signedWebhook(batch.provider, { at: minutesAgo(6) })],
    ['signed six minutes ahead', () => signedWebhook(batch.provider, { at: minutesAgo(-6) })],
    ['without a signature', () => without('webhook-signature')],
    ['without a timestamp', () => without('webhook-timestamp')],
    ['without an id', () => without('webhook-id')],
    ['with an empty id', () => signedWebhook(batch.provider, { id: '' })],
    ['that is no JSON, signed by a stranger', () => signedWebhook('', { body: '{', secret: otherSecret })],
    ['without a body', () => ({ payload: '', headers: {} })],
    [
      'of another type, unsigned',
      () => ({ payload: 'a=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } }),
    ],
  ];
  it.each(forgeries)('refuses one %s with 401, and asks the database nothing', async (_what, make) => {
    const before = await everything();
    const response = await post(make());
    expect(response.statusCode).toBe(401);
    expect(response.json()).toMatchObject({
      error: { code: 'bad_signature', message: expect.stringContaining('OPENAI_WEBHOOK_SECRET') },
    });
    expect(asked).toEqual([]);
    expect(polls).toBe(0);
    expect(await everything()).toBe(before);
    expect(await counted('refused')).toBe(1);
  });

  it('refuses every one where the worker has no secret, and asks the database nothing', async () => {
    app = await build({ secret: undefined });
    const response = await post(signedWebhook(batch.provider));
    expect(response.statusCode).toBe(401);
    expect(response.json()).toMatchObject({ error: { code: 'no_secret' } });
    expect(asked).toEqual([]);
    expect(polls).toBe(0);
    expect(await isDue()).toBe(false);
  });

  it('takes one four minutes old', async () => {
    expect((await post(signedWebhook(batch.provider, { at: minutesAgo(4) }))).statusCode).toBe(200);
  });

  const event = (change: object) =>
    JSON.stringify({ type: 'batch.completed', data: { id: 'batch_1' }, ...change });
  it.each([
    ['is no JSON', '{', 'invalid_json'],
    ['is empty', '', 'invalid_json'],
    ['is no object', '[]', 'invalid_event'],
    ['is of another kind', event({ type: 'response.completed' }), 'invalid_event'],
    ['has no type', event({ type: undefined }), 'invalid_event'],
    ['names no batch', event({ data: {} }), 'invalid_event'],
    ['names an empty batch', event({ data: { id: '' } }), 'invalid_event'],
    ['names a batch by number', event({ data: { id: 7 } }), 'invalid_event'],
    ['names a batch of 257 letters', event({ data: { id: 'b'.repeat(257) } }), 'invalid_event'],
  ])('refuses a signed body that %s with 422, and asks the database nothing', async (_what, body, code) => {
    const before = await everything();
    const response = await post(signedWebhook('', { body }));
    expect(response.statusCode).toBe(422);
    expect(response.json()).toMatchObject({ error: { code } });
    expect(asked).toEqual([]);
    expect(polls).toBe(0);
    expect(await everything()).toBe(before);
    expect(await counted('invalid')).toBe(1);
  });

  it('refuses an id of more than 256 characters with 422', async () => {
    const response = await post(signedWebhook(batch.provider, { id: 'w'.repeat(257) }));
    expect(response.statusCode).toBe(422);
    expect(asked).toEqual([]);
  });

  it('takes an event with more in it than today', async () => {
    const body = JSON.stringify({ type: 'batch.failed', data: { id: batch.provider, why: 'x' }, extra: [1] });
    expect((await post(signedWebhook('', { body }))).json()).toEqual({ status: 'due' });
  });

  it('reads no body of more than 16,000 bytes', async () => {
    const response = await post(signedWebhook('', { body: `"${'x'.repeat(16_000)}"` }));
    expect(response.statusCode).toBe(413);
    expect(asked).toEqual([]);
  });

  it('says 503 and when to come again where the database is away', async () => {
    app = await build({ url: 'postgres://nobody:a-secret-word@127.0.0.1:1/nowhere' });
    const response = await post(signedWebhook(batch.provider));
    expect(response.statusCode).toBe(503);
    expect(Number(response.headers['retry-after'])).toBeGreaterThan(0);
    expect(response.body).not.toContain('a-secret-word');
    expect(polls).toBe(0);
    // A forged one is refused all the same.
    expect((await post(signedWebhook(batch.provider, { secret: otherSecret }))).statusCode).toBe(401);
  });

  it('fails with 500, and no word of why, for any other fault', async () => {
    await database.sql`alter function rowmill.note_webhook rename to note_webhook_away`;
    try {
      const response = await post(signedWebhook(batch.provider));
      expect(response.statusCode).toBe(500);
      expect(response.body).not.toContain('note_webhook');
      expect(polls).toBe(0);
    } finally {
      await database.sql`alter function rowmill.note_webhook_away rename to note_webhook`;
    }
  });
});
