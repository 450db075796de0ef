import { afterEach, describe, expect, test } from 'vitest';
import { readFilms } from '../../examples/demo/films.ts';
import * as harvest from '../../src/jobs/harvest.ts';
import * as poll from '../../src/jobs/poll.ts';
import * as submit from '../../src/jobs/submit.ts';
import { type JobWorld, options, startJobWorld } from '../jobs/job-world.ts';
import { fiveLanguages } from '../support/five-languages.ts';
import { createPipeline, tick } from '../support/sql-factories.ts';

/** The bound. */
const atMost = 0.15;

describe('the estimate of a batch', () => {
  let world: JobWorld;
  afterEach(() => world.stop());

  async function runUntilIdle(): Promise<void> {
    for (let round = 0; round < 200; round += 1) {
      await tick(world.sql);
      await submit.runOnce(world.worker, options());
      await world.sql`update rowmill.batch_processing_details set poll_at = now() where state = 'running'`;
      await poll.runOnce(world.worker, options());
      await harvest.runOnce(world.worker, options());
      const [left] = await world.sql<{ n: number }[]>`
        select count(*)::int as n from rowmill.batch_processing_details where state not in ('done', 'abandoned', 'rejected')`;
      const [queued] = await world.sql<{ n: number }[]>`
        select count(*)::int as n from rowmill.chunks where state in ('waiting', 'accepted')`;
      if (left!.n === 0 && queued!.n === 0) return;
    }
    throw new Error('it never came to an end');
  }

  async function enrich(texts: string[], from: number): Promise<void> {
    await world.sql`
      insert into public.texts (id, body)
      select ${from} + n, t from unnest(${texts}::text[]) with ordinality as u(t, n)`;
    await world.sql`select rowmill.flush('texts')`;
    await runUntilIdle();
  }

  const films = readFilms().map((film) => `${film.Title}\n${film.Description}`);
  test.each([
    ['the example films', films.slice(0, 250), films.slice(250)],
    ['five languages in turn', fiveLanguages('alternating', 400, 1), fiveLanguages('alternating', 800, 2)],
    ['Chinese', fiveLanguages('chinese', 300, 1), fiveLanguages('chinese', 600, 2)],
    ['Russian', fiveLanguages('russian', 300, 1), fiveLanguages('russian', 600, 2)],
  ])('is within 15 % of the cost after the first batch: %s', async (_name, first, second) => {
    world = await startJobWorld({ simulator: {} });
    await world.sql`create table public.texts (id bigint primary key, body text, summary text)`;
    await createPipeline(world.sql, {
      ...{ name: 'texts', source: 'public.texts', prompt: 'Summarise: {{body}}' },
      chunk_size: 300,
    });
    await enrich(first, 0);
    await enrich(second, 100_000);

    const batches = await world.sql<
      { estimated: string | null; spent: string; input: number; told: number }[]
    >`
      select estimated_usd as estimated, spent_usd as spent, estimated_input_tokens as input, input_tokens as told
      from rowmill.batch_status order by batch_id`;
    // Before the first batch nobody knows how long answers are, and there is no limit on them either.
    expect(batches[0]!.estimated).toBeNull();
    const later = batches.filter((batch) => batch.estimated !== null);
    expect(later.length).toBeGreaterThanOrEqual(2);
    for (const batch of later) {
      expect(Math.abs(Number(batch.estimated) / Number(batch.spent) - 1)).toBeLessThan(atMost);
      expect(Math.abs(batch.input / batch.told - 1)).toBeLessThan(0.05);
    }
    const [sum] = await world.sql<{ spent: string; ledger: string }[]>`
      select p.spent_usd as spent, (select sum(b.spent_usd) from rowmill.batch_status as b) as ledger
      from rowmill.pipeline_status as p where p.name = 'texts'`;
    expect(Number(sum!.spent)).toBeCloseTo(Number(sum!.ledger), 5);
    expect(world.simulator!.ledger.repeatedPrompts).toBe(0);
  });
});
