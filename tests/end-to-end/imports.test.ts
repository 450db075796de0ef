import { afterEach, describe, expect, it } from 'vitest';
import { createFilmsPipeline } from '../support/films.ts';
import { settled, startWorld, type World } from '../support/service.ts';

const count = 10_000;

describe('an import of 10,000 rows', () => {
  let world: World;
  afterEach(() => world.stop());

  const values = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, at) => {
      const n = from + at + 1;
      return `('Film ${n}', 'The story of number ${n}, about love and war in a small town by the sea.')`;
    }).join(',');
  const insert = (from: number, to: number) =>
    `insert into films (title, description) values ${values(from, to)}`;

  /** Each row once, with the answer that was made from it, in chunks of 1,000. */
  async function expectEnriched(): Promise<void> {
    const { sql, simulator } = world;
    await settled(sql, 'films', 90_000);
    const rows = await sql<
      { id: number; title: string; summary: string | null; categories: string[] | null }[]
    >`
      select id, title, summary, categories from films order by id`;
    expect(rows.length).toBe(count);
    for (const row of rows) {
      expect(row.title).toBe(`Film ${row.id}`);
      expect(row.summary, `row ${row.id}`).toContain(`Film ${row.id}:`);
      expect(row.categories, `row ${row.id}`).toContain('War');
    }
    expect(new Set(rows.map((row) => row.summary)).size).toBe(count);
    expect(simulator.ledger.executed).toBe(count);
    expect(simulator.ledger.summary()).toMatchObject({ repeatedPrompts: 0 });
    expect(simulator.ledger.filesHeld()).toBe(0);

    const [chunks] = await sql`
      select count(*) filter (where row_count = 1000) as full, count(*) filter (where row_count <> 1000) as partial,
        sum(row_count)::integer as rows
      from rowmill.chunks`;
    expect(chunks!.rows).toBe(count);
    expect(chunks!.partial).toBeLessThanOrEqual(1);
    expect(await sql`select * from rowmill.row_failures`).toEqual([]);
    expect(await sql`select * from rowmill.trigger_errors`).toEqual([]);
    expect(await sql`select from rowmill.chunk_rows`).toHaveLength(0);
  }

  it('in 57 statements of 175 rows and the rest ends fully enriched', async () => {
    world = await startWorld();
    await createFilmsPipeline(world.sql);
    for (let from = 0; from < count; from += 175) {
      await world.sql.unsafe(insert(from, Math.min(count, from + 175)));
    }
    await expectEnriched();
  });

  it('in single-row statements ends fully enriched', async () => {
    world = await startWorld();
    // Long enough for the rows to come in; what is left over waits this long at the end.
    await createFilmsPipeline(world.sql, { flushAfter: '3 seconds' });
    for (let n = 0; n < count; n += 1) await world.sql.unsafe(insert(n, n + 1));
    await expectEnriched();
  });

  it('in one statement ends fully enriched', async () => {
    world = await startWorld();
    await createFilmsPipeline(world.sql);
    await world.sql.unsafe(insert(0, count));
    await expectEnriched();
  });

  it('of which 500 fill no chunk ends with a partial chunk', async () => {
    world = await startWorld();
    await createFilmsPipeline(world.sql);
    await world.sql.unsafe(insert(0, 2500));
    await settled(world.sql, 'films');
    const chunks = await world.sql<{ row_count: number }[]>`select row_count from rowmill.chunks order by id`;
    expect(chunks.map((chunk) => chunk.row_count)).toEqual([1000, 1000, 500]);
    const [rows] = await world.sql`select count(*) from films where summary like title || ':%'`;
    expect(rows!.count).toBe(2500);
  });
});
