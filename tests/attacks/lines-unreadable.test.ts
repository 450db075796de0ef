import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import {
  batches,
  ended,
  failures,
  type JobWorld,
  options,
  startJobWorld,
  submitted,
  summaries,
} from '../jobs/job-world.ts';
import { answerLine, jsonl } from '../support/fake-provider.ts';

let world: JobWorld;
beforeEach(async () => {
  world = await startJobWorld();
});
afterEach(() => world.stop());

const rows = 20;
const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;

/** Has the line of the first row be what `hostile` makes of it, and all others good ones; reads them once. */
async function harvestWith(hostile: (customId: string) => string | Buffer): Promise<void> {
  const ids = await submitted(world, 1, rows);
  const good = jsonl(ids.slice(1).map((id) => answerLine(id, 'a summary')));
  const output = Buffer.concat([Buffer.from(hostile(ids[0]!)), Buffer.from('\n'), Buffer.from(good)]);
  await ended(world, 'completed', {});
  const id = world.fake.addFile(output);
  await world.sql`update rowmill.batch_processing_details set output_file_id = ${id}`;
  await harvest.runOnce(world.worker, options());
}

const withError = (customId: string, error: string) =>
  `{"custom_id":"${customId}","response":null,"error":${error}}`;

describe('one line of a result file stops no other', () => {
  it.each<[string, (customId: string) => string | Buffer, string | null]>([
    [
      'a code that is an object',
      (id) => withError(id, '{"code":{"toString":1,"valueOf":1},"message":"x"}'),
      null,
    ],
    ['a code 200,000 levels deep', (id) => withError(id, `{"code":${deep(200_000)}}`), 'nested_too_deep'],
    ['a code 30,000 levels deep', (id) => withError(id, `{"code":${deep(30_000)}}`), null],
    ['9 MB', (id) => answerLine(id, 'x'.repeat(9_000_000)), 'line_too_long'],
    ['5 MB of brackets', (id) => withError(id, '['.repeat(5_000_000)), 'nested_too_deep'],
    ['bytes that are no UTF-8', (id) => Buffer.from(answerLine(id, 'caf\xe9'), 'latin1'), 'not_utf8'],
  ])('%s', async (_what, hostile, code) => {
    await harvestWith(hostile);
    expect(await summaries(world)).toEqual([null, ...Array(rows - 1).fill('a summary')]);
    expect(await batches(world)).toMatchObject([{ state: 'done', rows_enriched: rows - 1, rows_failed: 1 }]);
    expect(await failures(world)).toMatchObject([{ key: [1], code }]);
  });

  it('a status that is an object', async () => {
    await harvestWith((id) =>
      answerLine(id, 'a summary').replace('"status_code":200', '"status_code":{"toString":1,"valueOf":1}'),
    );
    expect(await summaries(world)).toEqual(Array(rows).fill('a summary'));
  });
});
