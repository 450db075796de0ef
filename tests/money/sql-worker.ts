import type postgres from 'postgres';
import type { BeginResult } from '../../src/store/calls.ts';

type Json = postgres.JSONValue;
/** A row that is held: its chunk, its place there, its hash, its key. */
export type Held = { c: number; n: number; h: string; id: number };
/** `read`: the keys of all rows that there were, held or not. */
export type Taken = { chunkIds: number[]; rows: Held[]; read: number[]; closed: number[] };
export type Told = { input: number; cached: number; output: number } | null;

/** For each row: tokens of input, and of output at most; null: no limit. */
export type BeginOptions = { tokens?: number; most?: number | null; leftOver?: Held[] };

let keys = 0;

/** A worker's calls, made by hand; the provider is whatever the test says that it answered. */
export function createSqlWorker(sql: postgres.Sql, worker = 'w') {
  const self = {
    /** Waiting chunks as far as there is room, each array to be one batch. */
    async claim(maxBatches = 20): Promise<number[][]> {
      const chunks =
        await sql`select batch, chunk_id from rowmill.claim_work(${worker}, ${maxBatches}) order by batch, chunk_id`;
      return [...Map.groupBy(chunks, ({ batch }) => batch).values()].map((some) =>
        some.map(({ chunk_id: id }) => id),
      );
    },
    /** The rows of claimed chunks that may be sent, in flight from here on; chunks without any are closed. */
    async hold(chunkIds: number[]): Promise<Taken> {
      const rows: Held[] = [];
      const open: number[] = [];
      const closed: number[] = [];
      const keysRead: number[] = [];
      for (const c of chunkIds) {
        const read = await sql`
          select r.n, r.hash as h, (k.keys -> r.n ->> 0)::bigint as id
          from rowmill.chunks as k cross join rowmill.read_chunk(k.id, 0, k.row_count) as r
          where k.id = ${c} order by r.n`;
        const held = await sql`
          select n from rowmill.hold_rows(${c}, ${worker}, ${sql.json(read.map(({ n, h }) => ({ n, hash: h })))})`;
        keysRead.push(...read.map(({ id }) => id));
        const mine = new Set(held.map(({ n }) => n));
        for (const { n, h, id } of read) if (mine.has(n)) rows.push({ c, n, h, id });
        if (mine.size > 0) open.push(c);
        else {
          await sql`select rowmill.close_chunk(${c}, ${worker})`;
          closed.push(c);
        }
      }
      return { chunkIds: open, rows, read: keysRead, closed };
    },
    async begin(taken: Pick<Taken, 'chunkIds' | 'rows'>, options: BeginOptions = {}): Promise<BeginResult> {
      const { tokens = 100, most = null, leftOver = [] } = options;
      const requests = taken.rows.length - leftOver.length;
      keys += 1;
      const [row] = await sql`
        select rowmill.begin_batch(
          ${worker}, ${`key-${keys}`}, ${sql.array(taken.chunkIds, 20)},
          (select p.version from rowmill.pipelines as p join rowmill.chunks as c on c.pipeline_id = p.id where c.id = ${taken.chunkIds[0]!}),
          ${requests}, ${requests * 500}, ${requests * tokens}, ${most === null ? null : requests * most}::bigint,
          ${sql.json(leftOver.map(({ c, n }) => ({ c, n })))}
        ) as result`;
      return row!.result;
    },
    /** What `begin` was refused for; the chunks wait. */
    async holdBack(chunkIds: number[], refused: BeginResult): Promise<void> {
      const why = refused.status === 'waits' ? refused : { waits_for: null, reason: null };
      const chunks = chunkIds.map((c) => ({ c }));
      await sql`select rowmill.hold_back_chunks(${worker}, ${why.waits_for}, ${why.reason}, ${sql.json(chunks)})`;
    },
    async start(batchId: number): Promise<void> {
      await sql`select rowmill.note_input_file(${batchId}, ${worker}, ${`file-${batchId}`})`;
      await sql`select rowmill.start_batch(${batchId}, ${`batch-${batchId}`}, 'in_progress', ${`file-${batchId}`})`;
    },
    /** All that waits of a pipeline, in one batch that runs. */
    async send(options: BeginOptions = {}): Promise<Taken & { batchId: number }> {
      const taken = await self.hold((await self.claim(1)).flat());
      const begun = await self.begin(taken, options);
      if (begun.status !== 'begun') throw new Error(JSON.stringify(begun));
      await self.start(begun.batch_id);
      return { ...taken, batchId: begun.batch_id };
    },
    async abandon(batchId: number, cause: string | null = null): Promise<void> {
      await sql`select rowmill.abandon_batch(${batchId}, ${worker}, 'no', false, ${cause})`;
    },
    async reject(batchId: number, verdict: { retried?: boolean; counted?: boolean; noted?: boolean } = {}) {
      const { retried = true, counted = true, noted = true } = verdict;
      await sql`
        select rowmill.reject_batch(${batchId}, ${worker}, 'batch_rejected', '400', 'it is refused', ${retried}, ${counted}, ${noted}, 0)`;
    },
    /** What a poll brings; in a terminal status the batch is then claimed for its harvest. */
    async poll(batchId: number, status: string, told: Told = null): Promise<void> {
      const isTerminal = ['completed', 'failed', 'expired', 'cancelled'].includes(status);
      await sql`select rowmill.record_polls(${sql.json([
        {
          ...{ batch_id: batchId, provider_status: status, is_terminal: isTerminal, output_file_id: 'out' },
          ...{ error_file_id: null, requests_completed: 0, requests_failed: 0, provider_errors: null },
          ...{
            input_tokens: told?.input ?? null,
            cached_tokens: told?.cached ?? null,
            output_tokens: told?.output ?? null,
          },
        },
      ])})`;
      if (isTerminal) await self.take();
    },
    async take(): Promise<void> {
      await sql`select rowmill.claim_ended_batches(${worker}, 100)`;
    },
    async apply(
      batchId: number,
      slice: { answers?: Json[]; failures?: Json[]; usage?: Told; billed?: number; repeated?: number },
    ): Promise<void> {
      const usage = slice.usage ?? { input: 0, cached: 0, output: 0 };
      await sql`
        select rowmill.apply_results(
          b.id, ${worker}, 'output', b.output_position, b.output_position + 100,
          ${sql.json(slice.answers ?? [])}, ${sql.json(slice.failures ?? [])}, 0, ${slice.repeated ?? 0},
          ${usage.input}, ${usage.cached}, ${usage.output}, ${slice.billed ?? slice.answers?.length ?? 0}
        )
        from rowmill.batch_processing_details as b where b.id = ${batchId}`;
    },
    /** What neither file mentions is so. */
    async finish(
      batchId: number,
      rest: { class: string; retried?: boolean; counted?: boolean; noted?: boolean } = { class: 'missing' },
    ): Promise<void> {
      const { retried = true, counted = true, noted = true } = rest;
      await sql`
        select rowmill.finish_harvest(${batchId}, ${worker}, ${rest.class}, null, 'no line', ${retried}, ${counted}, ${noted}, 0)`;
      await sql`select rowmill.finish_batch(${batchId}, ${worker})`;
    },
  };
  return self;
}

export type SqlWorker = ReturnType<typeof createSqlWorker>;

export function answered({ c, n, h }: Held, value = 'a summary') {
  return { c, n, h, o0: value };
}

export function failed(
  { c, n, h }: Held,
  verdict: { class?: string; retried?: boolean; counted?: boolean } = {},
) {
  const given = { class: 'server_error', retried: true, counted: true, ...verdict };
  return { c, n, h, code: '500', message: 'it stumbled', delay_seconds: 0, ...given };
}
