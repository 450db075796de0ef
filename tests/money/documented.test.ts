import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const page = readFileSync(path.join(import.meta.dirname, '../../docs/money.md'), 'utf8');

/** The figures of the example, as the functions that every batch goes through make them. */
describe('the example in docs/money.md', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase();
  });
  afterAll(() => database.drop());

  async function forecast(history: string, requests: number, rawTokens: number, maxOutput: number) {
    const [row] = await database.sql<
      { input: number; output: number; usd: string; most: string; tokens: number }[]
    >`
      select f.input_tokens as input, f.output_tokens as output, f.usd, f.most_usd as most, f.most_tokens as tokens
      from rowmill.forecast_of(${history}::text::rowmill.usage_history, rowmill.price_of('gpt-4o-mini'),
        ${requests}, ${rawTokens}, ${maxOutput}) as f`;
    return row!;
  }
  const dollars = (usd: string | number) => `$${Number(usd).toFixed(4)}`;

  test('estimates and reserves the first two batches as it says', async () => {
    const first = await forecast('(,,,)', 1000, 246_352, 300_000);
    expect([dollars(first.usd), dollars(first.most), first.tokens]).toEqual(['$0.1085', '$0.1131', 307_940]);
    const second = await forecast('(,,,)', 1000, 244_018, 300_000);
    expect([dollars(second.usd), dollars(second.most), second.tokens]).toEqual([
      '$0.1083',
      '$0.1129',
      305_023,
    ]);
    const reserved = Number(first.most) + Number(second.most);
    expect([dollars(reserved), dollars(0.3 - reserved)]).toEqual(['$0.2260', '$0.0740']);
    for (const figure of [
      '$0.1085',
      '$0.1131',
      '$0.1083',
      '$0.1129',
      '$0.2260',
      '$0.0740',
      '307,940',
      '305,023',
    ])
      expect(page).toContain(figure);
  });

  test('settles them as it says, and learns for the third', async () => {
    const cost = async (input: number, output: number) => {
      const [row] = await database.sql<{ usd: string }[]>`
        select rowmill.cost_usd(rowmill.price_of('gpt-4o-mini'), ${input}, 0, ${output}) as usd`;
      return Number(row!.usd);
    };
    const spent = [await cost(251_730, 35_162), await cost(251_038, 35_054)];
    expect(spent.map(dollars)).toEqual(['$0.0294', '$0.0293']);
    expect(dollars(0.3 - spent[0]! - spent[1]!)).toBe('$0.2412');
    const factor = (251_730 + 251_038) / (246_352 + 244_018);
    const third = await forecast(`(${factor},,35.108,)`, 1000, Math.round(250_925 / factor), 300_000);
    expect([dollars(third.usd), dollars(third.most)]).toEqual(['$0.0294', '$0.1107']);
    for (const figure of ['$0.2412', '250,925', '35,108', '$0.1107', '$0.0295', '$0.0883'])
      expect(page).toContain(figure);
  });

  test('names every setting that has to do with money', async () => {
    const rows = await database.sql<{ name: string }[]>`
      select attname as name from pg_attribute
      where attrelid = 'rowmill.settings'::regclass and attname in ('budget_usd', 'daily_budget_usd', 'max_output_tokens', 'batches_per_hour')`;
    expect(rows).toHaveLength(4);
    for (const { name } of rows) expect(page).toContain(name);
  });
});
