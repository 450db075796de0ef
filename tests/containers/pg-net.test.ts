import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Service } from '../../src/service.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { ingestSecret, settled, startWorker, urlForDatabase, waitFor } from '../support/service.ts';

const never = '0 0 1 1 *';
// pg_net serves one database of a server, the one that the run's URL names, and needs a server that preloads it.
const isServed = process.env.TEST_PG_NET === '1';

describe.skipIf(!isServed)('rows that the real pg_net posts (npm run test:containers)', () => {
  const name = `films_${randomBytes(6).toString('hex')}`;
  let sql: postgres.Sql;
  let simulator: Simulator;
  let service: Service;
  beforeAll(async () => {
    const url = inject('databaseUrl');
    await migrate({ url });
    sql = postgres(url, { onnotice: () => {} });
    simulator = await startSimulator();
    // Neither ticks nor fetches by itself: what it gets, it was posted.
    service = await startWorker(url, simulator.url, { ROWMILL_TICK_CRON: never });
    await sql`update rowmill.settings set poll_every = '100 milliseconds', fetch_after = '1 hour'`;
    await sql`select rowmill.set_endpoint(${urlForDatabase(service)}, ${ingestSecret})`;
    await createFilmsPipeline(sql, { table: `public.${name}`, name, flushAfter: '1 second' });
  });
  afterAll(async () => {
    await sql`select rowmill.unschedule()`;
    await sql`select rowmill.set_endpoint(null)`;
    await sql`select rowmill.drop_pipeline(${name})`;
    await sql.unsafe(`drop table public.${name}`);
    await service.stop();
    await simulator.close();
    await sql.end({ timeout: 5 });
  });

  const insert = (count: number) =>
    sql.unsafe(
      `insert into public.${name} (title) select 'Film ' || n from generate_series(1, ${count}) as n`,
    );
  const enriched = async () => {
    const [row] = await sql.unsafe(`select count(*) from public.${name} where summary is not null`);
    return Number(row!.count);
  };
  const chunksThatCame = async () => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    const counts = [...text.matchAll(/^rowmill_chunks_total\{came="(\w+)"\} (\d+)$/gm)];
    return Object.fromEntries(counts.map(([, came, count]) => [came, Number(count)]));
  };

  it('arrive and come home, formed and posted by the statement that inserted them', async () => {
    await insert(1000);
    await settled(sql, name, 90_000);
    expect(await enriched()).toBe(1000);
    expect(await chunksThatCame()).toEqual({ posted: 1, fetched: 0 });
  });

  it('arrive where pg_cron ticks alone', async () => {
    await sql`select rowmill.schedule('1 second')`;
    await insert(10);
    await waitFor('all are enriched', async () => (await enriched()) === 1010, 150_000);
    expect(await chunksThatCame()).toEqual({ posted: 2, fetched: 0 });
  }, 180_000);
});
