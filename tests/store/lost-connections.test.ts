import { once } from 'node:events';
import net from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isDatabaseAway } from '../../src/errors.ts';
import { createPostgresTransport } from '../../src/store/postgres-transport.ts';
import type { Transport } from '../../src/store/transport.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const connections = 8;

describe('a transport whose connections are lost', () => {
  let database: TestDatabase;
  let transport: Transport;
  beforeAll(async () => {
    database = await createDatabase();
    transport = createPostgresTransport({ url: database.url, maxConnections: connections });
  });
  afterAll(async () => {
    await transport.close(1000);
    await database.drop();
  });

  const call = () => transport.value('get_pipeline', { pipeline_id: 1 });
  const cut = () => database.sql`
    select pg_terminate_backend(a.pid) from pg_stat_activity as a
    where a.datname = current_database() and a.application_name = 'rowmill'`;

  it('says so, again and again, and is whole at once when it has them back', async () => {
    for (let round = 0; round < 60; round += 1) {
      const calls = Array.from({ length: connections * 4 }, () => call());
      // In the middle of them: some are written, some wait to be.
      const results = await Promise.allSettled([...calls, cut()]);
      for (const result of results) {
        if (result.status === 'rejected')
          expect(isDatabaseAway(result.reason), String(result.reason)).toBe(true);
      }
    }
    // A first one may still find out that its connection is gone.
    await Promise.allSettled(Array.from({ length: connections }, call));
    await Promise.all(Array.from({ length: connections * 4 }, call));
  });
});

describe('a transport that lost a connection and gets a dead one', () => {
  let database: TestDatabase;
  let proxy: net.Server;
  let url: string;
  let isDeaf = false;
  const sockets = new Set<net.Socket>();
  beforeAll(async () => {
    database = await createDatabase();
    const { hostname, port } = new URL(database.url);
    proxy = net.createServer((socket) => {
      const upstream = net.connect(Number(port), hostname);
      for (const each of [socket, upstream]) {
        sockets.add(each);
        each.on('error', () => {});
        each.on('close', () => sockets.delete(each));
      }
      // Queries begin with P; the handshake does not. What is swallowed here postgres.js has in a buffer for ever.
      socket.on('data', (data) => {
        if (!(isDeaf && data[0] === 'P'.charCodeAt(0))) upstream.write(data);
      });
      upstream.pipe(socket);
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const through = new URL(database.url);
    through.hostname = '127.0.0.1';
    through.port = String((proxy.address() as net.AddressInfo).port);
    url = through.href;
  });
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
  });
  afterAll(async () => {
    proxy.close();
    await database.drop();
  });

  it('says that the database is away instead of waiting for ever, and is whole with the next', async () => {
    const transport = createPostgresTransport({ url, maxConnections: 1, patienceMs: 500 });
    const call = () => transport.value('get_pipeline', { pipeline_id: 1 });
    await call();
    for (const socket of sockets) socket.destroy();
    // The first one finds out.
    await expect(call()).rejects.toMatchObject({ code: 'database_unreachable' });
    isDeaf = true;
    await expect(call()).rejects.toMatchObject({ code: 'database_unreachable' });
    isDeaf = false;
    await expect(call()).resolves.toBeNull();
    await transport.close(100);
  });
});
