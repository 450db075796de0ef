import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import { maxTries } from '../../src/jobs/unreadable.ts';
import { providerError } from '../support/fake-provider.ts';
import {
  answers,
  batches,
  ended,
  failures,
  type JobWorld,
  options,
  passTime,
  startJobWorld,
  status,
  submitted,
  summaries,
} from './job-world.ts';

describe('a result file that cannot be read to its end', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5000 } });
  });
  afterEach(() => world.stop());

  const run = () => harvest.runOnce(world.worker, options());
  /** One harvest after the other, each when it is time; resolves with whether one of them came to an end. */
  async function tryFor(times: number): Promise<boolean> {
    for (let at = 0; at < times; at += 1) {
      if ((await run()).harvested === 1) return true;
      await passTime(world);
    }
    return false;
  }
  /** Two lines of three, and a part of the last one. */
  async function cutShort(): Promise<void> {
    const output = answers(await submitted(world, 1, 3));
    await ended(world, 'completed', { output });
    const [batch] = await batches(world);
    world.fake.cutAt.set(batch!.output_file_id, Buffer.byteLength(output) - 5);
  }

  it('is given up after eight tries: what it held is missing and goes round again, what came of it stays', async () => {
    await cutShort();
    expect(await tryFor(maxTries - 1)).toBe(false);
    expect(await batches(world)).toMatchObject([{ state: 'ended', tries: maxTries - 1 }]);
    expect(await status(world)).toMatchObject({ in_flight: 3 });
    expect(await tryFor(1)).toBe(true);
    expect(await batches(world)).toMatchObject([{ state: 'done' }]);
    expect(await summaries(world)).toContain(null);
    const [failure] = await failures(world);
    expect(failure).toMatchObject({ error_class: 'missing', is_final: false });
    expect((await status(world)).problem).toMatch(/^The batch's output file cannot be read: /);
  });

  it('is read for as long as it takes where it is the provider that is away', async () => {
    await ended(world, 'completed', { output: answers(await submitted(world, 1, 3)) });
    world.fake.before.downloadFile = () => {
      throw providerError('busy', { status: 503 });
    };
    expect(await tryFor(2 * maxTries)).toBe(false);
    expect(await status(world)).toMatchObject({ in_flight: 3 });
    delete world.fake.before.downloadFile;
    expect(await tryFor(1)).toBe(true);
    expect(await summaries(world)).toEqual(['a summary', 'a summary', 'a summary']);
  });
});
