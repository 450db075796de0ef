import postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFilmsPipeline } from '../support/films.ts';
import { settled, startWorld, type World, waitFor } from '../support/service.ts';

describe('answers that meet a user\u2019s own work', () => {
  let world: World;
  beforeEach(async () => {
    world = await startWorld();
    await createFilmsPipeline(world.sql, { flushAfter: '0 seconds' });
  });
  afterEach(() => world.stop());

  const insertFilms = (count: number) =>
    world.sql`insert into films (title, description) select 'Film ' || n, 'x' from generate_series(1, ${count}) as n`;
  const ended = () =>
    waitFor('an answer could not be written', async () => {
      const rows = await world.sql`select from rowmill.batch_status where problem like '%lock timeout%'`;
      return rows.length > 0;
    });

  it('wait for a row that a transaction holds, are written once it lets go, and are not paid for again', async () => {
    const user = postgres(world.databaseUrl, { max: 1 });
    await insertFilms(10);
    await user.begin(async (tx) => {
      await tx`select from films where id = 5 for update`;
      await ended();
    });
    await user.end();
    // What failed is looked at again in a quarter of a minute; a test need not wait for it.
    await world.sql`update rowmill.batch_processing_details set lease_until = now() where state = 'ended'`;
    await settled(world.sql, 'films');
    const rows = await world.sql`select from films where summary like title || ':%'`;
    expect(rows).toHaveLength(10);
    expect(world.simulator.ledger.executed).toBe(10);
  });
});
