import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import { verdictOnTheRest } from '../../src/jobs/harvest-endings.ts';
import * as poll from '../../src/jobs/poll.ts';
import * as submit from '../../src/jobs/submit.ts';
import { answerLine, failureLine, jsonl, unexecutedLine } from '../support/fake-provider.ts';
import { queuedKeys } from '../support/sql-factories.ts';
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

describe('what becomes of the rows of a batch that', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { max_attempts: 2 } });
  });
  afterEach(() => world.stop());

  const run = () => harvest.runOnce(world.worker, options());

  /** The film that a request asks about; they are in one chunk, in the order of their keys. */
  const keyOf = (customId: string) => Number(customId.split('-')[1]) + 1;

  /** Sends what failed once more; returns its requests' ids. */
  async function again(): Promise<string[]> {
    await passTime(world);
    await world.sql`select rowmill.flush('films')`;
    await submit.runOnce(world.worker, options());
    return world.fake.customIds();
  }

  it('completed without an output file, since all failed: each goes round and then stands in row_failures', async () => {
    let ids = await submitted(world, 1, 3);
    await ended(world, 'completed', { error: jsonl(ids.map((id) => failureLine(id, 500))) });
    await run();
    expect(await failures(world)).toMatchObject(
      [1, 2, 3].map((id) => ({ key: [id], error_class: 'server_error', attempts: 1, is_final: false })),
    );
    expect(await status(world)).toMatchObject({ pending: 3, retrying: 3, failed: 0 });
    ids = await again();
    expect(ids).toHaveLength(3);
    await ended(world, 'completed', { error: jsonl(ids.map((id) => failureLine(id, 500))) });
    await run();
    expect(await status(world)).toMatchObject({ pending: 0, retrying: 0, failed: 3 });
  });

  it('completed with both files: what was answered is written, what failed goes round, and a success heals it', async () => {
    const [first, second, third] = await submitted(world, 1, 3);
    await ended(world, 'completed', {
      output: answers([first!, second!]),
      error: jsonl([failureLine(third!, 429)]),
    });
    await run();
    expect(await status(world)).toMatchObject({ enriched: 2, retrying: 1, pending: 1 });
    const ids = await again();
    expect(ids).toHaveLength(1);
    await ended(world, 'completed', { output: answers(ids) });
    await run();
    expect(await status(world)).toMatchObject({ enriched: 3, retrying: 0, failed: 0, pending: 0 });
    expect(await failures(world)).toHaveLength(0);
  });

  it('failed as a whole: it is sent again up to max_attempts, then its rows stand in row_failures', async () => {
    const errors = [{ code: 'empty_file', message: 'the file is empty', line: null }];
    await submitted(world, 1, 3);
    await ended(world, 'failed', { errors });
    await run();
    expect(await failures(world)).toMatchObject(
      [1, 2, 3].map((id) => ({
        key: [id],
        error_class: 'batch_rejected',
        code: 'empty_file',
        attempts: 1,
      })),
    );
    await again();
    await ended(world, 'failed', { errors });
    await run();
    const final = await world.sql`select message, attempts from rowmill.row_failures`;
    expect(final).toHaveLength(3);
    expect(final[0]).toEqual({ message: 'The provider refused the batch: the file is empty', attempts: 2 });
    expect(world.fake.batches.size).toBe(2);
  });

  it('failed for one of its lines: that row stands in row_failures, and the others go round uncounted', async () => {
    const ids = await submitted(world, 1, 3);
    const errors = [{ code: 'invalid_json_line', message: 'line 2 is not JSON', line: 2 }];
    await ended(world, 'failed', { errors });
    await run();
    expect(await failures(world)).toEqual([
      {
        ...{ key: [keyOf(ids[1]!)], error_class: 'invalid_request', code: 'invalid_json_line' },
        ...{ attempts: 1, is_final: true },
      },
    ]);
    expect(await status(world)).toMatchObject({ pending: 2, retrying: 0, failed: 1 });
    expect(await queuedKeys(world.sql, 1)).toEqual([[keyOf(ids[0]!)], [keyOf(ids[2]!)]]);
    expect(await again()).toHaveLength(2);
  });

  it('failed for want of room: no row hears of it, however often, and the model is left alone ever longer', async () => {
    await submitted(world, 1, 3);
    for (const seconds of [15, 30, 60, 120, 240]) {
      await ended(world, 'failed', {
        errors: [{ code: 'token_limit_exceeded', message: 'full', line: null }],
      });
      await run();
      expect(await failures(world)).toEqual([]);
      expect(await status(world)).toMatchObject({ retrying: 0, failed: 0, problem: null });
      const [state] = await world.sql`
        select extract(epoch from blocked_until - now())::float8 as seconds from rowmill.model_states`;
      expect(state!.seconds).toBeGreaterThan(seconds - 5);
      expect(state!.seconds).toBeLessThanOrEqual(seconds);
      // Nothing is sent in the same breath.
      await world.sql`select rowmill.flush('films')`;
      expect(await submit.runOnce(world.worker, options())).toMatchObject({ submitted: 0 });
      expect((await status(world)).waiting_reason).toContain('queue for gpt-4o-mini is full');
      expect((await again()).length).toBeGreaterThan(0);
    }
    // With room again, all of it goes, however little was tried at last.
    for (let round = 0; round < 3; round += 1) {
      await ended(world, 'completed', { output: answers(world.fake.customIds()) });
      await run();
      if ((await status(world)).enriched === 3) break;
      await again();
    }
    expect(await status(world)).toMatchObject({ enriched: 3, retrying: 0, failed: 0 });
  });

  it.each([
    ['expired', 'batch_expired'],
    ['cancelled', 'batch_cancelled'],
  ] as const)('%s: what is there is written, and the rest goes round uncounted', async (ending, code) => {
    const ids = await submitted(world, 1, 4);
    await ended(world, ending, {
      output: answers([ids[0]!]),
      // One line for a request that it did not come to, and none at all for the last two.
      error: jsonl([unexecutedLine(ids[1]!, code)]),
    });
    await run();
    expect(await status(world)).toMatchObject({ enriched: 1, pending: 3, failed: 0 });
    expect(await failures(world)).toMatchObject(
      Array(3).fill({ error_class: code, attempts: 0, is_final: false }),
    );
    expect(await again()).toHaveLength(3);
  });

  it.each(['expired', 'cancelled', 'failed'])('%s without any file: every row goes round', async (ending) => {
    await submitted(world, 1, 3);
    await ended(world, ending);
    expect(await run()).toMatchObject({ harvested: 1, failed: 0 });
    expect(await status(world)).toMatchObject({ pending: 3, failed: 0, problem: null });
  });

  it('completed with lines missing: their rows go round, each with an attempt counted', async () => {
    const ids = await submitted(world, 1, 4);
    await ended(world, 'completed', { output: answers(ids.slice(0, 2)) });
    await run();
    expect(await status(world)).toMatchObject({ enriched: 2, pending: 2 });
    expect(await failures(world)).toMatchObject(
      Array(2).fill({ error_class: 'missing', attempts: 1, is_final: false }),
    );
    expect((await batches(world))[0]).toMatchObject({ rows_enriched: 2, rows_failed: 2 });
  });

  it('belonged to a dropped pipeline: nothing is written, and its files are deleted', async () => {
    const ids = await submitted(world, 1, 3);
    await world.sql`select rowmill.drop_pipeline('films')`;
    world.fake.end('cancelled', { output: answers(ids) });
    await poll.runOnce(world.worker, options());
    expect((await batches(world))[0]!.state).toBe('harvested');
    expect(await run()).toEqual({ claimed: 1, harvested: 0, failed: 0, more: 0 });
    expect((await batches(world))[0]!.state).toBe('done');
    expect(await summaries(world)).toEqual([null, null, null]);
    expect(world.fake.files.size).toBe(0);
    expect(world.fake.called('downloadFile')).toHaveLength(0);
  });

  it('had its pipeline dropped while it is harvested: nothing more is written, and its files are deleted', async () => {
    const ids = await submitted(world, 1, 3);
    await ended(world, 'completed', { output: answers(ids) });
    world.fake.before.downloadFile = async () => {
      await world.sql`select rowmill.drop_pipeline('films')`;
    };
    expect(await run()).toMatchObject({ harvested: 0, failed: 0 });
    expect(await summaries(world)).toEqual([null, null, null]);
    await run();
    expect((await batches(world))[0]!.state).toBe('done');
    expect(world.fake.files.size).toBe(0);
  });

  it('had a row edited meanwhile: that answer is refused, and the row goes round with its new input', async () => {
    const ids = await submitted(world, 1, 2);
    await world.sql`update films set title = 'edited' where id = 2`;
    await ended(world, 'completed', { output: jsonl(ids.map((id) => answerLine(id, 'of the old input'))) });
    await run();
    expect(await summaries(world)).toEqual(['of the old input', null]);
    expect(await status(world)).toMatchObject({ enriched: 1, stale: 1 });
    expect(await again()).toHaveLength(1);
  });
});

describe('the verdict on rows that no file mentions', () => {
  it('follows from how the batch ended', () => {
    const verdict = (status: string, code?: string) =>
      verdictOnTheRest({
        provider_status: status,
        provider_errors: code === undefined ? null : [{ code, message: 'because', line: null }],
      });
    expect(verdict('completed')).toMatchObject({ class: 'missing', retried: true, counted: true });
    expect(verdict('expired')).toMatchObject({ class: 'batch_expired', retried: true, counted: false });
    expect(verdict('cancelled')).toMatchObject({ class: 'batch_cancelled', retried: true, counted: false });
    expect(verdict('failed')).toMatchObject({ class: 'batch_rejected', code: null, counted: true });
    expect(verdict('failed', 'x')).toMatchObject({
      code: 'x',
      message: 'The provider refused the batch: because',
    });
    expect(verdict('failed', 'token_limit_exceeded')).toMatchObject({
      class: 'rate_limited',
      counted: false,
      retried: true,
      noted: false,
    });
    expect(verdict('failed', 'insufficient_quota')).toMatchObject({
      class: 'quota_exhausted',
      counted: false,
    });
    expect(verdict('a word of tomorrow')).toMatchObject({ class: 'missing' });
  });
});
