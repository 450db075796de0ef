import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import pino from 'pino';
import { Webhook } from 'standardwebhooks';
import { afterEach, describe, expect, it } from 'vitest';
import { buildApp } from '../../src/app.ts';
import { RowmillError } from '../../src/errors.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createPostgresTransport } from '../../src/store/postgres-transport.ts';
import { createStore, type Store } from '../../src/store/store.ts';
import { createSupabaseTransport } from '../../src/store/supabase-transport.ts';
import type { Transport } from '../../src/store/transport.ts';
import type { Submission } from '../../src/submission/submission.ts';
import { notingTransport } from '../store/noting-transport.ts';
import { FakeProvider } from '../support/fake-provider.ts';
import { ingestSecret } from '../support/service.ts';

const nowhere = 'postgres://nobody:a-secret-word@127.0.0.1:1/nowhere';
// fetch asks nobody at the lowest ports.
const closed = 'http://127.0.0.1:2';

describe('a worker whose database is away', () => {
  const cleanUps: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  async function build(
    store: Store,
    gate?: Promise<void>,
  ): Promise<{ app: FastifyInstance; submitted: unknown[] }> {
    const submitted: unknown[] = [];
    const submission = {
      hasRoom: () => true,
      submit: async (_lease: unknown, chunk: unknown) => {
        submitted.push(chunk);
        await gate;
        return 'submitted' as const;
      },
    } as Partial<Submission> as Submission;
    const app = await buildApp({
      deps: {
        store,
        provider: new FakeProvider(),
        logger: pino({ level: 'silent' }),
        metrics: createMetrics(),
      },
      submission,
      ingestSecret,
      wakePoll: () => {},
      version: 'test',
    });
    cleanUps.push(() => app.close());
    return { app, submitted };
  }
  const storeAt = (url: string) => storeOver(createPostgresTransport({ url }));
  function storeOver(transport: Transport): Store {
    const store = createStore(transport, 'w', 'test');
    cleanUps.push(() => store.close(10));
    return store;
  }
  /** The address of something that takes connections and never says a word. */
  async function startSilence(): Promise<string> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => sockets.add(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    return `postgres://nobody:a-secret-word@127.0.0.1:${(server.address() as AddressInfo).port}/nowhere`;
  }
  function post() {
    const body = JSON.stringify({ chunk_id: 1, pipeline: 'films' });
    const at = new Date();
    return {
      method: 'POST' as const,
      url: '/v1/chunks',
      payload: body,
      headers: {
        'content-type': 'application/json',
        'webhook-id': 'chunk_1',
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': new Webhook(ingestSecret).sign('chunk_1', at, body),
      },
    };
  }

  it.each([
    ['Postgres', () => storeAt(nowhere)],
    ['the Data API', () => storeOver(createSupabaseTransport({ url: closed, key: 'a-secret-word' }))],
  ])(
    'is alive, is not ready, and turns posts away with 503 and when to come again: %s',
    async (_what, open) => {
      const { app, submitted } = await build(open());
      expect((await app.inject('/healthz')).statusCode).toBe(200);
      const ready = await app.inject('/readyz');
      expect(ready.statusCode).toBe(503);
      const posted = await app.inject(post());
      expect(posted.statusCode).toBe(503);
      expect(Number(posted.headers['retry-after'])).toBeGreaterThan(0);
      for (const answer of [ready, posted]) {
        expect(answer.json()).toMatchObject({ error: { code: 'database_unreachable' } });
        expect(answer.body).not.toContain('a-secret-word');
      }
      // Everybody may ask whether it is ready; only who knows the secret is told where the database is.
      expect(ready.body).not.toMatch(/ECONNREFUSED|127\.0\.0\.1/);
      expect(posted.body).toContain('ECONNREFUSED');
      expect(submitted).toEqual([]);
    },
  );

  it('says that it is not ready within some three seconds where the database takes a connection and stays silent', async () => {
    const { app } = await build(storeAt(await startSilence()));
    const beganAt = performance.now();
    const ready = await app.inject('/readyz');
    const seconds = (performance.now() - beganAt) / 1000;
    expect(ready.statusCode).toBe(503);
    expect(ready.json()).toMatchObject({ error: { code: 'database_unreachable' } });
    expect(seconds).toBeGreaterThan(2.5);
    expect(seconds).toBeLessThan(5);
    expect((await app.inject('/healthz')).statusCode).toBe(200);
  });

  it('turns posts away in the same way where it takes no writes', async () => {
    const { transport } = notingTransport();
    const { app, submitted } = await build(createStore(transport, 'w', 'test'));
    transport.rows = () =>
      Promise.reject(new RowmillError('database_read_only', 'The database takes no writes: it is so'));
    const posted = await app.inject(post());
    expect(posted.statusCode).toBe(503);
    expect(Number(posted.headers['retry-after'])).toBeGreaterThan(0);
    expect(posted.body).toContain('takes no writes');
    expect(submitted).toEqual([]);
  });

  it('keeps no lease of a claim that failed', async () => {
    const { transport, calls } = notingTransport();
    const store = createStore(transport, 'w', 'test');
    const { app, submitted } = await build(store);
    const { rows } = transport;
    transport.rows = async <Row>(name: string, args: Record<string, unknown>) => {
      if (name !== 'claim_chunk') return await rows<Row>(name, args);
      throw new RowmillError('database_unreachable', 'The database is out of reach: ECONNRESET');
    };
    const posted = await app.inject(post());
    expect(posted.statusCode).toBe(503);
    expect(posted.headers['retry-after']).toBeDefined();
    await store.renewLeases();
    expect(calls.at(-1)).toMatchObject({ name: 'renew_leases', args: { leases: [] } });
    expect(submitted).toEqual([]);
  });

  it.each(['known', 'paused', 'waits', 'unknown_pipeline', 'unknown_chunk', 'foreign_rows'])(
    'there or not, keeps no lease of a chunk that it did not get: %s',
    async (status) => {
      const { transport, calls } = notingTransport();
      const store = createStore(transport, 'w', 'test');
      const { app, submitted } = await build(store);
      const { rows } = transport;
      transport.rows = async <Row>(name: string, args: Record<string, unknown>) =>
        name === 'claim_chunk'
          ? ([{ status, row_count: null, pipeline_id: null, rows_hold: false }] as Row[])
          : await rows<Row>(name, args);
      const expected = { known: 200, paused: 200, waits: 202 }[status] ?? 422;
      expect((await app.inject(post())).statusCode).toBe(expected);
      await store.renewLeases();
      expect(calls.at(-1)).toMatchObject({ args: { leases: [] } });
      expect(submitted).toEqual([]);
    },
  );

  it('there again, keeps the lease of a chunk until its fate is known', async () => {
    const { transport, calls } = notingTransport();
    const store = createStore(transport, 'w', 'test');
    const gate = Promise.withResolvers<void>();
    const { app } = await build(store, gate.promise);
    const { rows } = transport;
    transport.rows = async <Row>(name: string, args: Record<string, unknown>) =>
      name === 'claim_chunk'
        ? ([{ status: 'accepted', row_count: 1, pipeline_id: 1, rows_hold: true }] as Row[])
        : await rows<Row>(name, args);
    expect((await app.inject(post())).statusCode).toBe(202);
    await store.renewLeases();
    expect(calls.at(-1)).toMatchObject({ args: { leases: ['w/1'] } });
    gate.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    await store.renewLeases();
    expect(calls.at(-1)).toMatchObject({ args: { leases: [] } });
  });

  it('fails with 500, and no word of why, for any other fault of the store', async () => {
    const { transport } = notingTransport();
    const { app } = await build(createStore(transport, 'w', 'test'));
    transport.rows = () => Promise.reject(new Error('a bug'));
    const posted = await app.inject(post());
    expect(posted.statusCode).toBe(500);
    expect(posted.headers['retry-after']).toBeUndefined();
    expect(posted.body).not.toContain('a bug');
  });
});
