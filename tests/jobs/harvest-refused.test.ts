import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import {
  batches,
  ended,
  failures,
  type JobWorld,
  options,
  passTime,
  startJobWorld,
  status,
  submitted,
} from './job-world.ts';

describe('a batch that was refused for some of its lines', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld();
  });
  afterEach(() => world.stop());

  it('is settled only once its input file came whole: a cut one would spare rows that it names', async () => {
    await submitted(world, 1, 3);
    const errors = [1, 3].map((line) => ({ code: 'invalid_json_line', message: `line ${line}`, line }));
    await ended(world, 'failed', { errors });
    const [batch] = await batches(world);
    const file = world.fake.files.get(batch!.input_file_id)!;
    world.fake.cutAt.set(batch!.input_file_id, file.indexOf('\n') + 1);

    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ harvested: 0, failed: 1 });
    expect(await status(world)).toMatchObject({ in_flight: 3, pending: 0, failed: 0 });

    world.fake.cutAt.clear();
    await passTime(world);
    expect(await harvest.runOnce(world.worker, options())).toMatchObject({ harvested: 1, failed: 0 });
    expect(await failures(world)).toMatchObject([{ key: [1] }, { key: [3] }]);
    expect(await status(world)).toMatchObject({ in_flight: 0, pending: 1, failed: 2 });
  });
});
