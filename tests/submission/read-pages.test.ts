import { afterEach, describe, expect, it } from 'vitest';
import * as submit from '../../src/jobs/submit.ts';
import {
  chunkStates,
  failures,
  type JobWorld,
  options,
  queue,
  startJobWorld,
  status,
} from '../jobs/job-world.ts';

describe('a row that Postgres cannot read', () => {
  let world: JobWorld;
  const start = async (filter: string) => {
    world = await startJobWorld({ pipeline: { filter, prompt: '{{title}}' } });
  };
  afterEach(() => world.stop());

  it('fails alone, and 299 neighbours are sent', async () => {
    await start('100 / nullif(length(title), 3) > 0');
    await queue(world, 1, 300);
    await world.sql`alter table films disable trigger user`;
    await world.sql`update films set title = '' where id = 7`;
    await world.sql`alter table films enable trigger user`;
    await submit.runOnce(world.worker, options());
    expect(world.fake.customIds()).toHaveLength(299);
    expect(await failures(world)).toEqual([
      { key: [7], error_class: 'invalid_request', code: '22012', attempts: 1, is_final: true },
    ]);
    expect(await status(world)).toMatchObject({ in_flight: 299, failed: 1, problem: null });
  });

  it('is the pipeline’s fault where every one is such a row: they wait, and it says why', async () => {
    await start('100 / (length(title) - length(title)) > 0');
    await queue(world, 1, 20);
    await submit.runOnce(world.worker, options());
    expect(await failures(world)).toEqual([]);
    expect(await chunkStates(world)).toEqual(['waiting']);
    expect((await status(world)).problem).toContain('division by zero');
  });

  it('may be too large; the others of its page are read in smaller ones', async () => {
    await start('true');
    await queue(world, 1, 30);
    await world.sql`alter table films disable trigger user`;
    await world.sql`update films set title = repeat('x', 6000000) where id in (3, 9, 27)`;
    await world.sql`update films set title = repeat('y', 16100000) where id = 10`;
    await submit.runOnce(world.worker, options());
    // Three of them have one input, and share a request.
    expect(world.fake.customIds()).toHaveLength(27);
    expect(await failures(world)).toMatchObject([{ key: [10], code: '54000', is_final: true }]);
  });
});
