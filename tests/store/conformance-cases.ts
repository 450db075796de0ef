import { createHmac } from 'node:crypto';
import { expect } from 'vitest';
import { verdictOf } from '../../src/pipeline/error-classes.ts';
import type { Lease, Slice, Store } from '../../src/store/store.ts';
import type { Transport } from '../../src/store/transport.ts';
import type { TestDatabase } from '../support/database.ts';
import { makeIntent } from '../support/make-intent.ts';
import {
  answer,
  createFilms,
  createPipeline,
  type EndedBatch,
  endedBatch,
  failure,
  insertFilms,
  startBatch,
  takeChunks,
} from '../support/sql-factories.ts';

export type Ground = {
  sql: TestDatabase['sql'];
  transport: Transport;
  store: Store;
  lease: Lease;
  /** What another worker holds. */
  others: Lease;
};
type Case = (ground: Ground) => Promise<void>;

/** Films 1 to `count`, queued and formed into chunks of a pipeline "films". */
export async function queueFilms(sql: Ground['sql'], count = 3, options = {}): Promise<void> {
  await createFilms(sql);
  await createPipeline(sql, { outputs: ['summary', 'score'], ...options });
  await insertFilms(sql, 1, count);
  await sql`select rowmill.flush('films')`;
}

async function claimedChunk({ sql, lease }: Ground, count = 3): Promise<void> {
  await queueFilms(sql, count);
  await lease.claimChunk(1, 'films', null);
}

async function preparedBatch(ground: Ground): Promise<number> {
  await claimedChunk(ground);
  const rows = await ground.store.readChunk(1, 0, 3);
  await ground.lease.holdRows(1, rows);
  const begun = await ground.lease.beginBatch(makeIntent([1]));
  expect(begun).toStrictEqual({ status: 'begun', batch_id: 1 });
  return 1;
}

async function runningBatch({ sql }: Ground): Promise<number> {
  await queueFilms(sql);
  await startBatch(sql, await takeChunks(sql, 'films'));
  await sql`update rowmill.batch_processing_details set poll_at = now()`;
  return 1;
}

async function heldHarvest({ sql, lease }: Ground, count = 3): Promise<EndedBatch> {
  await queueFilms(sql, count);
  return await endedBatch(sql, 'films', lease.hold.id);
}

export const emptySlice: Slice = {
  ...{ file: 'output', from_position: 0, to_position: 100, answers: [], failures: [] },
  ...{ unknown_lines: 0, repeated_lines: 0, billed_requests: 0 },
  ...{ input_tokens: 0, cached_tokens: 0, output_tokens: 0 },
};
const noCounts = { enriched: 0, stale: 0, gone: 0, failed: 0, duplicate: 0, unknown: 0 };
const verdict = verdictOf('missing', null, 'no line');

/** What each function of a worker returns in the states that it meets: the same over each transport, to the type. */
export const cases: Record<string, Case> = {
  async renew_leases(ground) {
    const { transport, lease } = ground;
    await claimedChunk(ground);
    const leases = [lease.hold.id, 'a, b/2', '{null}/3'];
    const args = { worker: 'w', version: 'test', leases };
    expect(await transport.rows('renew_leases', args)).toStrictEqual([{ lease_ms: 120_000, renewed: 1 }]);
    const none = { worker: 'w', version: 'test', leases: [] };
    expect(await transport.rows('renew_leases', none)).toStrictEqual([{ lease_ms: 120_000, renewed: 0 }]);
  },

  async tick({ sql, store }) {
    const nothing = { queued: 0, formed: 0, posted: 0, released: 0, more: false };
    expect(await store.tick(20)).toMatchObject(nothing);
    await createFilms(sql);
    await createPipeline(sql, { chunk_size: 2, flush_after: '0 seconds' });
    await sql`insert into films (id, title) select n, 'film ' || n from generate_series(1, 3) as n`;
    await sql`update rowmill.pending_keys set queued_at = queued_at - interval '1 minute'`;
    const [before] = await sql`select count(*)::integer as n from rowmill.chunks`;
    const counts = await store.tick(20);
    expect(counts).toMatchObject({ queued: 0, posted: 0, more: false });
    expect(counts.formed).toBe(2 - before!.n);
  },

  async claim_chunk({ sql, lease, others }) {
    await queueFilms(sql);
    const told = async (chunkId: number, pipeline: string, lastN: number | null) => {
      const { status, row_count, pipeline_id, rows_hold } = await lease.claimChunk(chunkId, pipeline, lastN);
      return [status, row_count, pipeline_id, rows_hold];
    };
    expect(await told(1, 'none', null)).toStrictEqual(['unknown_pipeline', null, null, false]);
    expect(await told(7, 'films', null)).toStrictEqual(['unknown_chunk', null, null, false]);
    expect(await told(1, 'films', 3)).toStrictEqual(['foreign_rows', 3, 1, false]);
    await sql`select rowmill.pause_pipeline('films')`;
    expect(await told(1, 'films', null)).toStrictEqual(['paused', null, 1, false]);
    await sql`select rowmill.resume_pipeline('films')`;
    expect(await told(1, 'films', 2)).toStrictEqual(['accepted', 3, 1, true]);
    expect(await told(1, 'films', 2)).toStrictEqual(['known', 3, 1, false]);
    expect(await others.claimChunk(1, 'films', 2)).toMatchObject({ status: 'known' });
  },

  async claim_work({ sql, lease }) {
    expect(await lease.claimWork(8)).toStrictEqual([]);
    await queueFilms(sql, 5, { chunk_size: 2 });
    expect(await lease.claimWork(8)).toStrictEqual([
      { batch: 1, chunk_id: 1, pipeline_id: 1, row_count: 2 },
      { batch: 2, chunk_id: 2, pipeline_id: 1, row_count: 2 },
      { batch: 3, chunk_id: 3, pipeline_id: 1, row_count: 1 },
    ]);
    expect(await lease.claimWork(8)).toStrictEqual([]);
  },

  async hold_back_chunks(ground) {
    await claimedChunk(ground);
    const figures = { requests: 3, bytes: 300, raw_input_tokens: 60, max_output_tokens: null };
    const chunks = [{ c: 1, ...figures }];
    expect(await ground.others.holdBackChunks('tokens', 'no room', chunks)).toBe(0);
    expect(await ground.lease.holdBackChunks('tokens', 'no "room" \\ {} \u2028', chunks)).toBe(1);
    const [chunk] = await ground.sql`
      select state, waits_for, wait_reason, requests, bytes, raw_input_tokens, max_output_tokens from rowmill.chunks`;
    expect(chunk).toEqual({
      ...{ state: 'waiting', waits_for: 'tokens', wait_reason: 'no "room" \\ {} \u2028' },
      ...figures,
    });
    // None of both: taken again at once.
    await ground.lease.claimWork(1);
    expect(await ground.lease.holdBackChunks(null, null, chunks)).toBe(1);
  },

  async release_chunk(ground) {
    await claimedChunk(ground);
    expect(await ground.others.releaseChunk(1)).toBe(false);
    expect(await ground.lease.releaseChunk(1)).toBe(true);
    expect(await ground.lease.releaseChunk(1)).toBe(false);
  },

  async read_chunk({ sql, store }) {
    await createFilms(sql);
    await createPipeline(sql, { prompt: '{{title}} {{note}}' });
    const title = `"quoted" {{x}} \\ \u2028 😀 ${'x'.repeat(5000)}`;
    await sql`insert into films (id, title, note) values (1, ${title}, null), (2, '', 'n'), (3, 'gone', 'n')`;
    await sql`select rowmill.flush('films')`;
    await sql`delete from films where id = 3`;
    const hash = expect.stringMatching(/^[0-9a-f]{16}$/);
    const rows = await store.readChunk(1, 0, 3);
    expect(rows.toSorted((a, b) => a.n - b.n)).toStrictEqual([
      { n: 0, hash, input: { title, note: null } },
      { n: 1, hash, input: { title: '', note: 'n' } },
    ]);
    expect(await store.readChunk(1, 1, 1)).toHaveLength(1);
    expect(await store.readChunk(7, 0, 3)).toStrictEqual([]);
  },

  async hold_rows(ground) {
    await claimedChunk(ground);
    const rows = await ground.store.readChunk(1, 0, 3);
    expect(await ground.others.holdRows(1, rows)).toStrictEqual(new Map());
    const held = await ground.lease.holdRows(1, rows.slice(0, 2));
    expect([...held].sort()).toStrictEqual([
      [0, 1],
      [1, 1],
    ]);
    expect(await ground.lease.holdRows(1, [])).toStrictEqual(new Map());
  },

  async refuse_rows(ground) {
    await claimedChunk(ground);
    const [row] = await ground.store.readChunk(1, 0, 1);
    // What quotes a provider or a row may hold what no text in Postgres can.
    const refused = verdictOf('invalid_request', 'a\0code', 'too "long" a\0b\ud800c');
    const failures = [{ n: 0, h: row!.hash, ...refused }];
    await ground.lease.holdRows(1, [row!]);
    expect(await ground.others.refuseRows(1, failures)).toBe(0);
    expect(await ground.lease.refuseRows(1, failures)).toBe(1);
    const [told] = await ground.sql`select code, message from rowmill.failures`;
    expect(told).toEqual({ code: 'a\u2400code', message: 'too "long" a\u2400b\ufffdc' });
  },

  async refuse_unread_rows(ground) {
    await claimedChunk(ground);
    const failures = [{ n: 0, ...verdictOf('invalid_request', '22012', 'division\0by zero') }];
    expect(await ground.others.refuseUnreadRows(1, failures)).toBe(0);
    expect(await ground.lease.refuseUnreadRows(1, failures)).toBe(1);
    const [told] = await ground.sql`select code, message, is_final from rowmill.failures`;
    expect(told).toEqual({ code: '22012', message: 'division\u2400by zero', is_final: true });
  },

  async close_chunk(ground) {
    await claimedChunk(ground);
    expect(await ground.others.closeChunk(1)).toBe(false);
    expect(await ground.lease.closeChunk(1)).toBe(true);
    expect(await ground.lease.closeChunk(1)).toBe(false);
  },

  async get_pipeline({ sql, store }) {
    expect(await store.getPipeline(1)).toBeNull();
    await createFilms(sql);
    const params = { temperature: 0.25, seed: 9_007_199_254_740_991, stop: ['\u2028"\\'] };
    await createPipeline(sql, { instructions: 'Be "brief".\n', outputs: ['summary', 'score'], params });
    const pipeline = await store.getPipeline(1);
    expect(pipeline).toStrictEqual({
      ...{ id: 1, name: 'films', version: 1, instructions: 'Be "brief".\n', prompt: 'Title: {{title}}' },
      ...{ placeholder_style: 'braces', inputs: ['title'], model: 'gpt-4o-mini', format: 'json', params },
      outputs: [
        { name: 'summary', encoding: 'value' },
        { name: 'score', encoding: 'value' },
      ],
      ...{ endpoint: '/v1/chat/completions', output_cap: null, response_schema_text: expect.any(String) },
    });
    expect(await store.getPipeline(1, 1)).toStrictEqual(pipeline);
    expect(await store.getPipeline(1, 2)).toBeNull();
  },

  async note_pipeline_problem({ sql, store }) {
    await queueFilms(sql);
    expect(await store.notePipelineProblem(1, 'a\0b\ud800c')).toBeNull();
    const [status] = await sql`select problem from rowmill.pipeline_status`;
    expect(status!.problem).toContain('a\u2400b\ufffdc');
    expect(await store.notePipelineProblem(1, null)).toBeNull();
    expect(await store.notePipelineProblem(77, 'of none')).toBeNull();
  },

  async begin_batch(ground) {
    await claimedChunk(ground);
    const { lease, sql } = ground;
    const lost = { status: 'lost' };
    expect(await ground.others.beginBatch(makeIntent([1]))).toStrictEqual(lost);
    expect(await lease.beginBatch(makeIntent([1, 77]))).toStrictEqual(lost);
    expect(await lease.beginBatch(makeIntent([1], { version: 2 }))).toStrictEqual({ status: 'altered' });
    await sql`insert into rowmill.model_limits (model, enqueued_tokens) values ('gpt-4o-mini', 20)
      on conflict (model) do update set enqueued_tokens = 20`;
    const full = await lease.beginBatch(makeIntent([1]));
    expect(full).toStrictEqual({
      status: 'waits',
      waits_for: 'tokens',
      reason: expect.any(String),
      fits: expect.any(Number),
    });
    await sql`update rowmill.model_limits set enqueued_tokens = 1000000 where model = 'gpt-4o-mini'`;
    const left_over = [{ c: 1, n: 2 }];
    const twins = [{ c: 1, n: 1, of: 0 }];
    const rows = await ground.store.readChunk(1, 0, 3);
    await lease.holdRows(1, rows);
    const intent = makeIntent([1], { requests: 1, left_over, twins, max_output_tokens: 4096 });
    expect(await lease.beginBatch(intent)).toStrictEqual({ status: 'begun', batch_id: 1 });
    const [batch] = await sql`select key, requests, bytes, owner from rowmill.batch_processing_details`;
    expect(batch).toEqual({ key: 'a key', requests: 1, bytes: 100, owner: lease.hold.id });
    const queued = await sql`select keys from rowmill.pending_keys`;
    expect(queued).toEqual([{ keys: [[3]] }]);
  },

  async note_input_file(ground) {
    const batchId = await preparedBatch(ground);
    expect(await ground.others.noteInputFile(batchId, 'file-1')).toBe(false);
    expect(await ground.lease.noteInputFile(batchId, 'file-1')).toBe(true);
  },

  async start_batch(ground) {
    const { store, sql } = ground;
    const batchId = await preparedBatch(ground);
    expect(await store.startBatch(batchId, 'batch-1', 'validating', 'file-1')).toBe('started');
    expect(await store.startBatch(batchId, 'batch-1', 'validating', 'file-1')).toBe('known');
    expect(await store.startBatch(batchId, 'batch-2', 'validating', 'file-1')).toBe('foreign');
    const [batch] = await sql`select state, provider_status from rowmill.batch_processing_details`;
    expect(batch).toEqual({ state: 'running', provider_status: 'validating' });
  },

  async let_go_of_batch(ground) {
    const batchId = await preparedBatch(ground);
    expect(await ground.others.letGoOfBatch(batchId, 'a problem')).toBe(false);
    expect(await ground.lease.letGoOfBatch(batchId, 'a\0problem')).toBe(true);
    const [batch] = await ground.sql`select problem from rowmill.batch_processing_details`;
    expect(batch!.problem).toBe('a\u2400problem');
  },

  async claim_stale_intents(ground) {
    const batchId = await preparedBatch(ground);
    expect(await ground.others.claimStaleIntents(8)).toStrictEqual([]);
    await ground.lease.noteInputFile(batchId, 'file-1');
    await ground.sql`update rowmill.batch_processing_details set lease_until = now() - interval '1 second'`;
    expect(await ground.others.claimStaleIntents(8)).toStrictEqual([
      {
        ...{ batch_id: 1, key: 'a key', pipeline_id: 1, input_file_id: 'file-1', is_old: false },
        age_seconds: expect.any(Number),
      },
    ]);
  },

  async abandon_batch(ground) {
    const batchId = await preparedBatch(ground);
    expect(await ground.others.abandonBatch(batchId, 'no', true, null)).toBe(false);
    expect(await ground.lease.abandonBatch(batchId, 'no', true, 'tokens')).toBe(true);
    expect(await ground.lease.abandonBatch(batchId, 'no', true, 'tokens')).toBe(false);
  },

  async reject_batch(ground) {
    const batchId = await preparedBatch(ground);
    const rejected = verdictOf('batch_rejected', '400', 'no such model');
    expect(await ground.others.rejectBatch(batchId, rejected, false)).toBeNull();
    expect(await ground.lease.rejectBatch(batchId, { ...rejected, delay_seconds: 60 }, false)).toBe(3);
  },

  async claim_sweeps(ground) {
    const batchId = await preparedBatch(ground);
    expect(await ground.lease.claimSweeps(1000)).toStrictEqual([]);
    await ground.lease.abandonBatch(batchId, 'no', true, null);
    expect(await ground.lease.claimSweeps(1000)).toStrictEqual([
      { batch_id: 1, key: 'a key', age_seconds: expect.any(Number) },
    ]);
    expect(await ground.others.claimSweeps(1000)).toStrictEqual([]);
  },

  async finish_sweep(ground) {
    const batchId = await preparedBatch(ground);
    await ground.lease.abandonBatch(batchId, 'no', true, null);
    await ground.lease.claimSweeps(1000);
    expect(await ground.others.finishSweep(batchId, 0.125)).toBe(false);
    expect(await ground.lease.finishSweep(batchId, 0.125)).toBe(true);
  },

  async claim_due_polls(ground) {
    expect(await ground.store.claimDuePolls(10_000, 20)).toStrictEqual([]);
    await runningBatch(ground);
    await ground.sql`update rowmill.batch_processing_details set provider_batch_id = 'batch-x'`;
    expect(await ground.store.claimDuePolls(10_000, 20)).toStrictEqual([
      { batch_id: 1, pipeline_id: 1, provider_batch_id: 'batch-x', cancel_asked: false },
    ]);
    expect(await ground.store.claimDuePolls(10_000, 20)).toStrictEqual([]);
  },

  async record_polls(ground) {
    const batchId = await runningBatch(ground);
    const poll = {
      ...{ batch_id: batchId, provider_status: 'in_progress', is_terminal: false, provider_errors: null },
      ...{ output_file_id: null, error_file_id: null, requests_completed: 2, requests_failed: 1 },
      ...{ input_tokens: null, cached_tokens: null, output_tokens: null },
    };
    expect(await ground.store.recordPolls([])).toStrictEqual([]);
    expect(await ground.store.recordPolls([poll])).toStrictEqual([{ batch_id: 1, state: 'running' }]);
    const ended = {
      ...poll,
      ...{ provider_status: 'failed', is_terminal: true, output_file_id: 'out', input_tokens: 2 ** 40 },
      provider_errors: [{ code: null, message: 'a\0b\ud800c \\u0000', line: 3 }],
    };
    const unknown = { ...ended, batch_id: 77 };
    expect(await ground.store.recordPolls([ended, unknown])).toStrictEqual([{ batch_id: 1, state: 'ended' }]);
    expect(await ground.store.recordPolls([ended])).toStrictEqual([]);
    const [batch] = await ground.sql`select provider_errors from rowmill.batch_processing_details`;
    expect(batch!.provider_errors).toEqual([{ code: null, message: 'a\u2400b\ufffdc \\u0000', line: 3 }]);
  },

  async note_poll_problem(ground) {
    const batchId = await runningBatch(ground);
    expect(await ground.store.notePollProblem(batchId, 'a\0problem', true)).toBe(false);
    await ground.sql`update rowmill.batch_processing_details
      set submitted_at = submitted_at - interval '2 days', gone_since = gone_since - interval '2 hours'`;
    expect(await ground.store.notePollProblem(batchId, 'a problem', true)).toBe(true);
  },

  async note_webhook(ground) {
    await runningBatch(ground);
    const [batch] = await ground.sql`select provider_batch_id as id from rowmill.batch_processing_details`;
    expect(await ground.store.noteWebhook('wh_1', 'batch_unheard_of')).toBe('unknown');
    expect(await ground.store.noteWebhook('wh_1', batch!.id)).toBe('due');
    expect(await ground.store.noteWebhook('wh_1', batch!.id)).toBe('known');
  },

  async claim_ended_batches(ground) {
    const batchId = await runningBatch(ground);
    expect(await ground.lease.claimEndedBatches(4)).toStrictEqual([]);
    await ground.sql`update rowmill.batch_processing_details set input_file_id = 'in'`;
    const provider_errors = [{ code: 'c', message: 'm', line: null }];
    await ground.store.recordPolls([
      {
        ...{ batch_id: batchId, provider_status: 'expired', is_terminal: true, provider_errors },
        ...{ output_file_id: 'out', error_file_id: null, requests_completed: 2, requests_failed: 1 },
        ...{ input_tokens: null, cached_tokens: null, output_tokens: null },
      },
    ]);
    const [claimed, ...rest] = await ground.lease.claimEndedBatches(4);
    expect(rest).toStrictEqual([]);
    expect(claimed).toStrictEqual({
      ...{ batch_id: 1, state: 'ended', pipeline_id: 1, pipeline_version: 1, provider_status: 'expired' },
      ...{ provider_errors, input_file_id: 'in', output_file_id: 'out', error_file_id: null },
      ...{ output_position: 0, error_position: 0, keep_files: false },
      ...{ tries: 0, requests: 3, rows_enriched: 0, strange_lines: 0 },
    });
    expect(await ground.others.claimEndedBatches(4)).toStrictEqual([]);
  },

  async apply_results(ground) {
    const { sql, lease, others } = ground;
    const { batchId, rows } = await heldHarvest(ground, 4);
    const [first, second, third, fourth] = rows;
    await sql`update films set title = 'edited' where id = 2`;
    await sql`delete from films where id = 3`;
    const answers = [
      answer(first!, 'it\'s "one" \\ \u2028 😀', 7),
      answer(second!, 'two', 2),
      answer(third!, 'three', 3),
      { c: 77, n: 0, h: first!.h, o0: 'of none', o1: 1 },
    ];
    const failures = [failure(fourth!, { class: 'server_error' })].map((failed) => ({
      ...failed,
      ...verdictOf('server_error', '500', 'a\0b\ud800c'),
    }));
    const slice = { ...emptySlice, answers, failures, input_tokens: 2 ** 40, billed_requests: 4 } as Slice;
    expect(await others.applyResults(batchId, slice)).toBeNull();
    expect(await lease.applyResults(batchId, slice)).toStrictEqual({
      ...{ enriched: 1, stale: 1, gone: 1, failed: 1, duplicate: 0, unknown: 1 },
    });
    // A slice that was applied before.
    expect(await lease.applyResults(batchId, slice)).toBeNull();
    const none = { ...emptySlice, from_position: 100, to_position: 200 };
    expect(await lease.applyResults(batchId, none)).toStrictEqual(noCounts);
    expect(await sql`select summary, score from films where id = 1`).toEqual([
      { summary: 'it\'s "one" \\ \u2028 😀', score: 7 },
    ]);
  },

  async note_gone_file(ground) {
    const { batchId } = await heldHarvest(ground);
    expect(await ground.lease.noteGoneFile(batchId)).toBe(false);
    await ground.sql`update rowmill.batch_processing_details set gone_since = gone_since - interval '2 hours'`;
    expect(await ground.others.noteGoneFile(batchId)).toBe(false);
    expect(await ground.lease.noteGoneFile(batchId)).toBe(true);
  },

  async finish_harvest(ground) {
    const { batchId } = await heldHarvest(ground);
    expect(await ground.others.finishHarvest(batchId, verdict, false)).toBeNull();
    const silent = { ...verdict, noted: false };
    expect(await ground.lease.finishHarvest(batchId, silent, true)).toBe(3);
    expect(await ground.lease.finishHarvest(batchId, verdict, false)).toBeNull();
  },

  async finish_batch(ground) {
    const { batchId } = await heldHarvest(ground);
    expect(await ground.lease.finishBatch(batchId)).toBe(false);
    await ground.lease.finishHarvest(batchId, verdict, false);
    expect(await ground.others.finishBatch(batchId)).toBe(false);
    expect(await ground.lease.finishBatch(batchId)).toBe(true);
  },

  async doctor({ transport }) {
    const rows = await transport.rows<Record<string, unknown>>('doctor', {});
    expect(rows.length).toBeGreaterThan(15);
    expect(rows[0]).toStrictEqual({
      ...{ check: 'migrations', verdict: 'ok', remedy: null },
      found: expect.any(String),
    });
    expect(rows.map(({ verdict }) => verdict)).not.toContain(null);
  },

  async probes_under_way({ transport }) {
    const [row] = await transport.rows<{ probes: number; now_ms: number }>('probes_under_way', {});
    expect(row).toStrictEqual({ probes: 0, now_ms: expect.any(Number) });
    expect(Math.abs(row!.now_ms - Date.now())).toBeLessThan(60_000);
  },

  async knows_secret({ sql, transport }) {
    const ask = (key: string) => {
      const proof = createHmac('sha256', Buffer.from(key, 'base64'))
        .update('rowmill doctor c')
        .digest('base64');
      return transport.value('knows_secret', { challenge: 'c', proof });
    };
    const key = Buffer.alloc(32, 7).toString('base64');
    expect(await ask(key)).toBeNull();
    await sql`select rowmill.set_endpoint('http://127.0.0.1:9', ${`whsec_${key}`})`;
    expect(await ask(key)).toBe(true);
    expect(await ask(Buffer.alloc(32, 8).toString('base64'))).toBe(false);
  },

  async migration_versions({ sql, store }) {
    expect(await store.missingMigrations()).toStrictEqual([]);
    const taken = await sql<{ version: string }[]>`
      delete from supabase_migrations.schema_migrations as m where m.name like 'rowmill%' returning m.version`;
    expect(taken).not.toHaveLength(0);
    expect(await store.missingMigrations()).toStrictEqual(taken.map(({ version }) => version).sort());
  },
};
