import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPostgresTransport } from '../../src/store/postgres-transport.ts';
import type { Transport } from '../../src/store/transport.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitFor } from '../support/service.ts';

describe('a transport whose sessions began read-only', () => {
  let database: TestDatabase;
  let transport: Transport;
  beforeEach(async () => {
    database = await createDatabase();
    await database.sql.unsafe(`
      create function rowmill.wait(seconds numeric) returns text language sql
        as 'select pg_catalog.pg_sleep(seconds); select ''waited''';
      do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$`);
    transport = createPostgresTransport({ url: database.url, maxConnections: 2, renewAfterMs: 200 });
  });
  afterEach(async () => {
    await transport.close(1000);
    await database.drop();
  });
  const lift = () =>
    database.sql.unsafe(
      `do $$ begin execute format('alter database %I reset default_transaction_read_only', current_database()); end $$`,
    );
  const sessions = async () => {
    const [row] = await database.sql`
      select count(*)::integer as sessions from pg_stat_activity
      where datname = current_database() and application_name = 'rowmill'`;
    return row!.sessions as number;
  };
  const write = () => transport.value('tick', {});

  it('writes once that is lifted, cuts no call in hand, and leaves no session behind', async () => {
    const refusal = { code: 'database_read_only', fields: { cause: '25006' } };
    // Two at once, so that both sessions began so.
    for (const refused of [write(), write()].map((call) => expect(call).rejects.toMatchObject(refusal)))
      await refused;
    const inHand = transport.value('wait', { seconds: 1 });
    await lift();
    const counts = await waitFor('it writes', () => write().catch(() => null), 20_000);
    expect(counts).toMatchObject({ formed: 0 });
    expect(await inHand).toBe('waited');
    await waitFor('old sessions are gone', async () => (await sessions()) <= 2, 20_000);
  });

  it('tells so, and that it is over', async () => {
    expect(await transport.writability()).toBe('read_only');
    await lift();
    await waitFor('it is over', async () => (await transport.writability()) === 'writable', 20_000);
  });

  it('are not replaced at each refusal', async () => {
    const patient = createPostgresTransport({ url: database.url, maxConnections: 2 });
    const refused = () =>
      expect(patient.value('tick', {})).rejects.toMatchObject({ code: 'database_read_only' });
    for (let times = 0; times < 10; times += 1) await Promise.all([refused(), refused()]);
    expect(await sessions()).toBeLessThanOrEqual(2);
    await patient.close(1000);
  });
});
