import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { settled, startWorld, type World, waitFor } from '../support/service.ts';

describe('a pipeline that reads what another one fills', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
    await world.sql`create table films (id bigint generated always as identity primary key, title text, summary text, slogan text)`;
    await world.sql`
      select rowmill.create_pipeline(name => 'summaries', source => 'films', instructions => null, prompt => '{{title}}',
        outputs => array['summary'], model => 'gpt-4o-mini', flush_after => '0 seconds')`;
    await world.sql`
      select rowmill.create_pipeline(name => 'slogans', source => 'films', instructions => null, prompt => 'A slogan for: {{summary}}',
        outputs => array['slogan'], model => 'gpt-4o-mini', format => 'text', endpoint => '/v1/responses', flush_after => '0 seconds')`;
  });
  afterAll(() => world.stop());

  const filled = (count: number) =>
    waitFor('every film has a slogan', async () => {
      const rows = await world.sql`select from films where slogan is not null`;
      return rows.length === count;
    });

  it('waits for its input and asks once for each row', async () => {
    await world.sql`insert into films (title) select 'Film ' || n from generate_series(1, 50) as n`;
    await filled(50);
    await settled(world.sql, 'slogans');
    const rows = await world.sql<{ summary: string }[]>`select summary from films`;
    for (const { summary } of rows) {
      expect(world.simulator.ledger.timesPrompted(`A slogan for: ${summary}`)).toBe(1);
    }
    expect(world.simulator.ledger.executed).toBe(100);
  });

  it('goes round again when its input changes', async () => {
    await world.sql`update films set title = 'Another film' where id = 7`;
    const [row] = await waitFor('the slogan is new', async () => {
      const rows =
        await world.sql`select summary, slogan from films where id = 7 and summary like 'Another film%'`;
      return rows.length === 1 && rows;
    });
    await waitFor(
      'it was asked for',
      async () => world.simulator.ledger.timesPrompted(`A slogan for: ${row!.summary}`) === 1,
    );
    await settled(world.sql, 'slogans');
    expect(world.simulator.ledger.executed).toBe(102);
  });
});
