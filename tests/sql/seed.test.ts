import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { queuedKeys, tick } from '../support/sql-factories.ts';

describe('supabase/seed.sql', () => {
  let database: TestDatabase;
  let seed: string;
  beforeAll(async () => {
    database = await createDatabase();
    seed = await readFile(new URL('../../supabase/seed.sql', import.meta.url), 'utf8');
  });
  afterAll(() => database.drop());

  const queued = async () => {
    await tick(database.sql);
    const [pipeline] = await database.sql`
      select id from rowmill.pipelines where name = 'example_movies' and state = 'active'`;
    return (await queuedKeys(database.sql, pipeline!.id)).map(([key]) => key).sort();
  };

  it('makes a table with rows, and a pipeline that queues them', async () => {
    await database.sql.unsafe(seed);
    expect(await queued()).toEqual(['Metropolis', 'Modern Times', 'Nosferatu', 'The General']);
  });

  it('changes nothing when it is run again', async () => {
    await database.sql`update public.example_movies set summary = 'mine' where title = 'Metropolis'`;
    await database.sql.unsafe(seed);
    expect(await database.sql`select from public.example_movies`).toHaveLength(4);
    expect(await database.sql`select from public.example_movies where summary = 'mine'`).toHaveLength(1);
    expect(await database.sql`select from rowmill.pipelines`).toHaveLength(1);
    expect(await queued()).toHaveLength(4);
  });

  it('makes its pipeline anew after that was dropped', async () => {
    await database.sql`select rowmill.drop_pipeline('example_movies')`;
    await database.sql.unsafe(seed);
    expect(await queued()).toHaveLength(4);
  });
});
