import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import { answerLine, failureLine, jsonl } from '../support/fake-provider.ts';
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

describe('a result file', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5000 } });
  });
  afterEach(() => world.stop());

  const run = () => harvest.runOnce(world.worker, options());

  it('may be in any order', async () => {
    const ids = await submitted(world, 1, 5);
    await ended(world, 'completed', { output: jsonl(ids.map((id) => answerLine(id, id)).reverse()) });
    await run();
    const rows = await world.sql`select id, summary from films order by id`;
    const keys = ids.map((id) => Number(id.split('-')[1]) + 1);
    expect(rows.map((row) => row.id)).toEqual([1, 2, 3, 4, 5]);
    for (const [at, id] of ids.entries()) expect(rows[keys[at]! - 1]!.summary).toBe(id);
  });

  it('counts a line that comes twice in a slice, and the first one wins', async () => {
    const [first, second] = await submitted(world, 1, 2);
    await ended(world, 'completed', {
      output: jsonl([answerLine(first!, 'first'), answerLine(second!, 'x'), answerLine(first!, 'second')]),
    });
    await run();
    expect(await summaries(world)).toContain('first');
    expect(await summaries(world)).not.toContain('second');
    expect(await batches(world)).toMatchObject([
      { rows_enriched: 2, lines_duplicate: 1, lines_unknown: 0, input_tokens: 30 },
    ]);
  });

  it('may name places and chunks that no integer holds, and count tokens that none holds', async () => {
    const ids = await submitted(world, 1, 3);
    const [chunk, , hash] = ids[0]!.split('-');
    const strangers = [
      `${chunk}-4294967295-${hash}`,
      `${chunk}-9007199254740991-${hash}`,
      `c9007199254740991-0-${hash}`,
    ];
    const absurd = ids.map((id) =>
      answerLine(id, id).replace(/"prompt_tokens":\d+/, '"prompt_tokens":9e307'),
    );
    expect(absurd.join()).toContain('9e307');
    await ended(world, 'completed', {
      output: jsonl([
        ...strangers.map((id) => answerLine(id, 'x')),
        ...absurd,
        failureLine(strangers[0]!, 500),
      ]),
    });
    await run();
    expect(await summaries(world)).toEqual(ids);
    expect(await batches(world)).toMatchObject([{ rows_enriched: 3, lines_unknown: 4, input_tokens: 1e15 }]);
  });

  it('counts a line that comes again in a later slice, and the first one wins', async () => {
    const ids = await submitted(world, 1, 1500);
    const lines = ids.map((id) => answerLine(id, 'first'));
    await ended(world, 'completed', {
      output: jsonl([...lines, answerLine(ids[0]!, 'second'), failureLine(ids[1]!, 500)]),
    });
    await run();
    expect(new Set(await summaries(world))).toEqual(new Set(['first']));
    expect(await batches(world)).toMatchObject([
      { rows_enriched: 1500, rows_failed: 0, lines_duplicate: 2, lines_unknown: 0 },
    ]);
    expect(await failures(world)).toHaveLength(0);
  });

  it('counts a line of the error file for a row that was answered, and the answer stays', async () => {
    const ids = await submitted(world, 1, 2);
    await ended(world, 'completed', { output: answers(ids), error: jsonl([failureLine(ids[0]!, 500)]) });
    await run();
    expect(await batches(world)).toMatchObject([{ rows_enriched: 2, rows_failed: 0, lines_duplicate: 1 }]);
  });

  it.each([
    ['of another batch', 'c999999-0-0123456789abcdef'],
    ['of no place in the chunk', 'c1-4711-0123456789abcdef'],
    ['of a place beyond all integers', 'c1-99999999999-0123456789abcdef'],
    ['of a chunk beyond all reason', 'c9007199254740991-0-0123456789abcdef'],
    ['of somebody else', 'request-1'],
    ['without a hash', 'c1-0'],
    ['of nothing', ''],
  ])('may have ids %s: they are counted, and everything else is applied', async (_what, stranger) => {
    const ids = await submitted(world, 1, 3);
    await ended(world, 'completed', {
      output: jsonl([answerLine(stranger, 'x'), ...ids.map((id) => answerLine(id, 'a summary'))]),
      error: jsonl([failureLine(stranger, 500)]),
    });
    expect(await run()).toMatchObject({ harvested: 1, failed: 0 });
    expect(await batches(world)).toMatchObject([
      { rows_enriched: 3, rows_failed: 0, lines_unknown: 2, lines_duplicate: 0 },
    ]);
    expect(await summaries(world)).toEqual(Array(3).fill('a summary'));
  });

  it('may hold lines that are no results at all', async () => {
    const ids = await submitted(world, 1, 2);
    const rubbish = ['', 'not JSON', '[]', 'null', '{"custom_id":7}', '{}', '"\u2028"'];
    await ended(world, 'completed', {
      output: jsonl([...rubbish, ...ids.map((id) => answerLine(id, 'a summary'))]),
    });
    await run();
    // An empty line is none.
    expect(await batches(world)).toMatchObject([{ rows_enriched: 2, lines_unknown: 6 }]);
  });

  it('may end without a newline', async () => {
    const ids = await submitted(world, 1, 3);
    const output = answers(ids).trimEnd();
    await ended(world, 'completed', { output });
    await run();
    expect(await batches(world)).toMatchObject([
      { state: 'done', rows_enriched: 3, rows_failed: 0, output_position: Buffer.byteLength(output) },
    ]);
  });

  it('may be empty', async () => {
    await submitted(world, 1, 2);
    await ended(world, 'completed', { output: '', error: '' });
    await run();
    expect(await status(world)).toMatchObject({ enriched: 0, pending: 2 });
  });

  it('is split at line feeds alone, whatever its text is made of', async () => {
    const ids = await submitted(world, 1, 3);
    const text = 'a\u2028b\u2029c\u0085d\r\ne "quoted" \\ 😀 ß';
    await ended(world, 'completed', { output: jsonl(ids.map((id) => answerLine(id, text))) });
    await run();
    expect(await summaries(world)).toEqual([text, text, text]);
  });

  it.each([
    ['between two lines', (bytes: number) => bytes],
    ['within a line', (bytes: number) => bytes + 40],
    ['within a character', (bytes: number) => bytes - 5],
    ['before its first byte', () => 0],
  ])(
    'whose download ends early, %s, is taken up again, and nothing is applied twice',
    async (_where, cut) => {
      const ids = await submitted(world, 1, 1700);
      const output = jsonl(ids.map((id) => answerLine(id, `${id} ßßßß`)));
      await ended(world, 'completed', { output });
      const [batch] = await batches(world);
      const upTo = Buffer.byteLength(jsonl(ids.slice(0, 1300).map((id) => answerLine(id, `${id} ßßßß`))));
      world.fake.cutAt.set(batch!.output_file_id, cut(upTo));
      expect(await run()).toMatchObject({ harvested: 0, failed: 1 });
      // The whole slices are applied, and no row is taken for missing.
      const applied = cut(upTo) === 0 ? 0 : 1000;
      expect(await status(world)).toMatchObject({
        enriched: applied,
        in_flight: 1700 - applied,
        failed: 0,
        retrying: 0,
      });
      expect((await status(world)).problem).toContain('bytes');
      await passTime(world, '20 seconds');
      world.fake.cutAt.clear();
      expect(await run()).toMatchObject({ harvested: 1 });
      expect(await status(world)).toMatchObject({ enriched: 1700, input_tokens: 17_000, problem: null });
      expect(await batches(world)).toMatchObject([{ lines_duplicate: 0, lines_unknown: 0, rows_failed: 0 }]);
    },
  );

  it('that is gone at the provider keeps its batch for a while, and says so', async () => {
    const ids = await submitted(world, 1, 2);
    await ended(world, 'completed', { output: answers(ids) });
    world.fake.files.clear();
    for (let look = 0; look < 2; look += 1) {
      expect(await run()).toMatchObject({ harvested: 0, failed: 1 });
      await passTime(world, '20 seconds');
    }
    expect(await status(world)).toMatchObject({ in_flight: 2, problem: 'the provider is rejected' });
  });

  it('of a batch whose error file broke off resumes in the error file', async () => {
    const ids = await submitted(world, 1, 3);
    await ended(world, 'completed', {
      output: answers(ids.slice(0, 2)),
      error: jsonl([failureLine(ids[2]!, 500)]),
    });
    const [batch] = await batches(world);
    world.fake.cutAt.set(batch!.error_file_id, 10);
    await run();
    expect(await batches(world)).toMatchObject([{ state: 'ended', rows_enriched: 2, error_position: 0 }]);
    world.fake.cutAt.clear();
    await passTime(world, '20 seconds');
    await run();
    expect(await batches(world)).toMatchObject([
      { state: 'done', rows_enriched: 2, rows_failed: 1, lines_duplicate: 0, input_tokens: 20 },
    ]);
  });
});
