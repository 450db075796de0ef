import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
