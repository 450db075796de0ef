import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createFilms, createPipeline } from '../support/sql-factories.ts';

/** Statements of a function that update or delete and have no condition of their own. */
function bareStatements(source: string): string[] {
  // Strings that are statements themselves ($sql$ … $sql$) stay; other texts and comments say nothing.
  const text = source.replace(/--[^\n]*/g, '').replace(/'(?:[^']|'')*'/g, "''");
  const found: string[] = [];
  for (const { index, 0: start } of text.matchAll(
    /\b(?:update\s+(?!of\b|skip\b|set\b)\S+|delete\s+from\s+\S+)/gi,
  )) {
    // Row locks, triggers' events, and what an insert does with a conflict.
    if (/\b(?:for|key|before|after|or|do)\s+$/i.test(text.slice(0, index))) continue;
    let depth = 0;
    let end = index;
    let hasCondition = false;
    for (; end < text.length && depth >= 0; end += 1) {
      if (text[end] === '(') depth += 1;
      if (text[end] === ')') depth -= 1;
      if (text[end] === ';' && depth === 0) break;
      if (depth === 0 && /^\swhere\b/i.test(text.slice(end, end + 7))) hasCondition = true;
    }
    if (!hasCondition) found.push(`${start} … ${text.slice(index, Math.min(end, index + 80))}`);
  }
  return found;
}

// Supabase loads pg-safeupdate into every session of its Data API: there an update or a delete without a condition fails, also
// within a function that is called, or a trigger that fires.
describe('every update and delete', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase();
    await createFilms(database.sql);
    await createPipeline(database.sql);
  });
  afterAll(() => database.drop());

  it('has a condition, in all that a Data API may come to run', async () => {
    const functions = await database.sql<{ name: string; source: string }[]>`
      select p.proname as name, p.prosrc as source from pg_proc as p
      where p.pronamespace = 'rowmill'::regnamespace`;
    expect(functions.length).toBeGreaterThan(100);
    const bare = functions.flatMap(({ name, source }) =>
      bareStatements(source).map((text) => `${name}: ${text}`),
    );
    expect(bare).toEqual([]);
  });

  it('is found by this test where it has none', () => {
    expect(bareStatements(`begin update rowmill.settings set lease = '1 where'; end`)).toHaveLength(1);
    expect(bareStatements('with gone as (delete from a returning 1) select 1 where true')).toHaveLength(1);
    expect(bareStatements('update a set b = (select c from d where true)')).toHaveLength(1);
    expect(
      bareStatements(
        'select from a where true for update of a; insert into b values (1) on conflict do update set c = 1',
      ),
    ).toEqual([]);
    expect(bareStatements(`update a set b = 'x; y' from c\n where a.id = c.id`)).toEqual([]);
  });
});
