import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import * as submit from '../../src/jobs/submit.ts';
import * as tickJob from '../../src/jobs/tick.ts';
import { alterPipeline } from '../support/sql-factories.ts';
import {
  answers,
  batches,
  ended,
  type JobWorld,
  options,
  queue,
  startJobWorld,
  status,
  submitted,
  summaries,
} from './job-world.ts';

describe('a pipeline that is altered while a batch runs', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5000, provenance: { score: '$version' } } });
  });
  afterEach(() => world.stop());

  it('ends that batch under its version, sends new rows under the next, and sends old ones again when asked', async () => {
    const first = await submitted(world, 1, 2);
    await alterPipeline(world.sql, 'films', { prompt: 'Judge {{title}}', model: 'gpt-5-nano' });
    await ended(world, 'completed', { output: answers(first, 'first') });
    await harvest.runOnce(world.worker, options());
    const second = await submitted(world, 3, 3);
    await ended(world, 'completed', { output: answers(second, 'second') });
    await harvest.runOnce(world.worker, options());
    expect(await summaries(world)).toEqual(['first', 'first', 'second']);
    expect((await world.sql`select score from films order by id`).map((film) => film.score)).toEqual([
      1, 1, 2,
    ]);
    expect(await batches(world)).toMatchObject([
      { pipeline_version: 1, model: 'gpt-4o-mini', rows_enriched: 2 },
      { pipeline_version: 2, model: 'gpt-5-nano', rows_enriched: 1 },
    ]);

    await world.sql`select rowmill.re_enrich('films')`;
    await tickJob.runOnce(world.worker, options());
    await world.sql`select rowmill.flush('films')`;
    await submit.runOnce(world.worker, options());
    const third = world.fake.customIds();
    expect(third).toHaveLength(2);
    await ended(world, 'completed', { output: answers(third, 'third') });
    await harvest.runOnce(world.worker, options());
    expect(await summaries(world)).toEqual(['third', 'third', 'second']);
    expect(await status(world)).toMatchObject({ enriched: 5, stale: 0, pending: 0, failed: 0 });
  });

  it('reads the answers of the running batch as that was asked, when other columns are filled by then', async () => {
    const first = await submitted(world, 1, 1);
    await alterPipeline(world.sql, 'films', { outputs: ['note'], format: 'text' });
    await ended(world, 'completed', { output: answers(first, 'first') });
    await harvest.runOnce(world.worker, options());
    expect(await world.sql`select summary, note, score from films`).toEqual([
      { summary: 'first', note: null, score: 1 },
    ]);
  });

  it('writes nothing older over what a newer version answered', async () => {
    const first = await submitted(world, 1, 1);
    await alterPipeline(world.sql, 'films', { model: 'gpt-5-nano' });
    await world.sql`select rowmill.backfill('films')`;
    await tickJob.runOnce(world.worker, options());
    await world.sql`select rowmill.flush('films')`;
    await submit.runOnce(world.worker, options());
    const [older, newer] = await batches(world);
    const ids = world.fake.customIds();
    expect(ids).not.toEqual(first);
    await ended(world, 'completed', { output: answers(ids, 'newer') });
    await harvest.runOnce(world.worker, options());
    await ended(world, 'completed', { output: answers(first, 'older'), id: older!.provider_batch_id });
    await harvest.runOnce(world.worker, options());
    expect(await summaries(world)).toEqual(['newer']);
    const after = await batches(world);
    expect(after.map((batch) => [batch.id, batch.rows_enriched, batch.rows_stale])).toEqual([
      [older!.id, 0, 1],
      [newer!.id, 1, 0],
    ]);
    expect(await status(world)).toMatchObject({ pending: 0, waiting: 0, in_flight: 0 });
  });

  it('asks under the new version for what waited in a chunk of the old', async () => {
    await queue(world, 1, 2);
    await alterPipeline(world.sql, 'films', { instructions: 'Be brief.' });
    await submit.runOnce(world.worker, options());
    expect(await batches(world)).toMatchObject([{ pipeline_version: 2, requests: 2 }]);
    await ended(world, 'completed', { output: answers(world.fake.customIds(), 'brief') });
    await harvest.runOnce(world.worker, options());
    expect(await summaries(world)).toEqual(['brief', 'brief']);
  });
});
