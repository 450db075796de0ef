import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import { verdictOnTheRest } from '../../src/jobs/harvest.ts';
import * as poll from '../../src/jobs/poll.ts';
import * as submit from '../../src/jobs/submit.ts';
import { answerLine, failureLine, jsonl, unexecutedLine } from '../support/fake-provider.ts';
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
    const errors = [{ code: 'invalid_json_line', message: 'line 1 is not JSON', line: 1 }];
    await submitted(world, 1, 3);
    await ended(world, 'failed', { errors });
    await run();
    expect(await failures(world)).toMatchObject(
      [1, 2, 3].map((id) => ({
        key: [id],
        error_class: 'batch_rejected',
        code: 'invalid_json_line',
        attempts: 1,
      })),
    );
    await again();
    await ended(world, 'failed', { errors });
    await run();
    const final = await world.sql`select message, attempts from rowmill.row_failures`;
    expect(final).toHaveLength(3);
    expect(final[0]).toEqual({ message: 'The provider refused the batch: line 1 is not JSON', attempts: 2 });
    expect(world.fake.batches.size).toBe(2);
  });

  it('failed for want of room: no attempt is counted, however often, and it waits a minute', async () => {
    await submitted(world, 1, 3);
    for (let round = 0; round < 3; round += 1) {
      await ended(world, 'failed', {
        errors: [{ code: 'token_limit_exceeded', message: 'full', line: null }],
      });
      await run();
      expect(await failures(world)).toMatchObject(Array(3).fill({ attempts: 0, is_final: false }));
      const [wait] = await world.sql`
        select extract(epoch from queued_at - now())::integer as seconds from rowmill.pending_keys`;
      expect(wait!.seconds).toBeGreaterThan(50);
      expect(wait!.seconds).toBeLessThanOrEqual(60);
      await again();
    }
    const ids = world.fake.customIds();
    await ended(world, 'completed', { output: answers(ids) });
    await run();
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
    expect(await run()).toMatchObject({ claimed: 1 });
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
      counted: false,
      retried: true,
      delay_seconds: 60,
    });
    expect(verdict('a word of tomorrow')).toMatchObject({ class: 'missing' });
  });
});
