import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { createFilmsPipeline } from '../support/films.ts';
import { isOverHttp, settled, startWorker, startWorld } from '../support/service.ts';

it('a worker that may do nothing but what rowmill_worker may takes rows all the way', async () => {
  const world = await startWorld({ env: { ROWMILL_TICK_CRON: '0 0 1 1 *', ROWMILL_POLL_CRON: '0 0 1 1 *' } });
  const role = `worker_${randomBytes(6).toString('hex')}`;
  await world.sql.unsafe(`create role ${role} login password '${role}' in role rowmill_worker`);
  // Through a Data API it is the token's role, which whoever logs in there takes on.
  if (isOverHttp) await world.sql.unsafe(`grant ${role} to authenticator`);
  const url = new URL(world.databaseUrl);
  url.username = role;
  url.password = role;
  const worker = await startWorker(url.href, world.simulator.url, {}, role);
  try {
    await createFilmsPipeline(world.sql, { flushAfter: '0 seconds' });
    await world.sql`insert into films (title) select 'Film ' || n from generate_series(1, 1500) as n`;
    await settled(world.sql, 'films');
    const rows = await world.sql`select from films where summary like title || ':%'`;
    expect(rows).toHaveLength(1500);
    expect((await fetch(`${worker.url}/readyz`)).status).toBe(200);
  } finally {
    await worker.stop();
    await world.sql.unsafe(`drop role ${role}`);
    await world.stop();
  }
});
