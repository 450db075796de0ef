import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Service } from '../../src/service.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { createPgNetDatabase } from '../support/pg-net.ts';
import { ingestSecret, settled, startWorker, urlForDatabase } from '../support/service.ts';

const never = '0 0 1 1 *';

let database: Awaited<ReturnType<typeof createPgNetDatabase>>;
let simulator: Simulator;
let service: Service;
beforeAll(async () => {
  database = await createPgNetDatabase();
  simulator = await startSimulator();
  // Neither ticks nor fetches by itself: what it gets, it was posted.
  service = await startWorker(database.url, simulator.url, { ROWMILL_TICK_CRON: never });
  await database.sql`update rowmill.settings set poll_every = '100 milliseconds', fetch_after = '1 hour'`;
  await database.sql`select rowmill.set_endpoint(${urlForDatabase(service)}, ${ingestSecret})`;
  await createFilmsPipeline(database.sql, { flushAfter: '1 hour' });
});
afterAll(async () => {
  await service.stop();
  await simulator.close();
  await database.drop();
});

it('rows come home that pg_net posts alone, with a number or with the rows in the post', async () => {
  const { sql } = database;
  // The statement posts the number of the full chunk, flush the rows of the rest.
  await sql`insert into films (title) select 'Film ' || n from generate_series(1, 1010) as n`;
  await sql`select rowmill.flush('films')`;
  await settled(sql, 'films', 90_000);
  expect(await sql`select from films where summary like title || ':%'`).toHaveLength(1010);
  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  const came = [...metrics.matchAll(/^rowmill_chunks_total\{came="(\w+)"\} (\d+)$/gm)];
  expect(Object.fromEntries(came.map(([, how, count]) => [how, Number(count)]))).toEqual({
    posted: 2,
    fetched: 0,
  });
});
