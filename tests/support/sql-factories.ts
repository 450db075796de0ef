import postgres from 'postgres';
import type { BeginResult, Place } from '../../src/store/store.ts';

type Json = postgres.JSONValue;

export type PipelineOptions = {
  name?: string;
  source?: string;
  instructions?: string | null;
  prompt?: string | null;
  outputs?: string[] | null;
  model?: string | null;
  format?: string | null;
  output_schema?: Json;
  filter?: string | null;
  params?: Json;
  endpoint?: string | null;
  chunk_size?: number | null;
  flush_after?: string | null;
  max_attempts?: number | null;
  target?: string | null;
  provenance?: Json;
  placeholder_style?: string | null;
  budget_usd?: number | string | null;
  daily_budget_usd?: number | string | null;
  backfill?: boolean;
};

export type AlterOptions = Omit<PipelineOptions, 'name' | 'source' | 'target' | 'backfill'> & {
  reset?: string[];
};

const casts: Record<string, string> = {
  source: 'text::regclass',
  target: 'text::regclass',
  outputs: 'text::text[]',
  reset: 'text::text[]',
  flush_after: 'text::interval',
  budget_usd: 'text::numeric',
  daily_budget_usd: 'text::numeric',
  output_schema: 'text::json',
  params: 'text::jsonb',
  provenance: 'text::jsonb',
};

/** Calls a function with named arguments. */
async function call(sql: postgres.ISql, name: string, given: Record<string, unknown>): Promise<number> {
  const list = Object.keys(given).map(
    (key, at) => `${key} => $${at + 1}${casts[key] ? `::${casts[key]}` : ''}`,
  );
  const values = Object.entries(given).map(([key, value]) => {
    if (value === null) return null;
    if (casts[key]?.includes('json')) return JSON.stringify(value);
    if (casts[key] === 'text::numeric') return String(value);
    return Array.isArray(value) ? arrayLiteral(value) : value;
  });
  const [row] = await sql.unsafe(
    `select rowmill.${name}(${list.join(', ')}) as result`,
    values as postgres.ParameterOrJSON<never>[],
  );
  return row!.result;
}

/** Declares a pipeline with named arguments, over `films` where nothing else is said; returns its id. */
export async function createPipeline(sql: postgres.ISql, options: PipelineOptions = {}): Promise<number> {
  return await call(sql, 'create_pipeline', {
    name: 'films',
    source: 'public.films',
    instructions: null,
    prompt: 'Title: {{title}}',
    outputs: ['summary'],
    model: 'gpt-4o-mini',
    ...options,
  });
}

/** Alters a pipeline with named arguments; returns the version that then holds. */
export async function alterPipeline(
  sql: postgres.ISql,
  pipeline: string,
  options: AlterOptions,
): Promise<number> {
  return await call(sql, 'alter_pipeline', { pipeline, ...options });
}

function arrayLiteral(values: string[]): string {
  return `{${values.map((value) => `"${value.replace(/[\\"]/g, '\\$&')}"`).join(',')}}`;
}

/** A table of films: `id`, the input `title`, the outputs `summary` and `score`, and `note`, which nothing reads. */
export async function createFilms(sql: postgres.ISql, table = 'public.films'): Promise<void> {
  await sql.unsafe(
    `create table ${table} (id bigint primary key, title text, summary text, score integer, note text)`,
  );
}

/** Films `from` to `to`, in one statement. */
export async function insertFilms(sql: postgres.ISql, from: number, to: number, table = 'public.films') {
  await sql.unsafe(
    `insert into ${table} (id, title) select n, 'film ' || n from generate_series(${from}, ${to}) as n`,
  );
}

/** What a statement was refused with; fails where it was not. */
export async function refusal(statement: PromiseLike<unknown>): Promise<postgres.PostgresError> {
  try {
    await statement;
  } catch (error) {
    if (error instanceof postgres.PostgresError) return error;
    throw error;
  }
  throw new Error('expected a refusal, and nothing was refused');
}

/** Every key of a pipeline that is queued or in an open chunk, oldest first, repetitions included. */
export async function queuedKeys(sql: postgres.ISql, pipelineId: number): Promise<unknown[][]> {
  const rows = await sql<{ key: unknown[] }[]>`
    select e.key
    from (
      select 0 as place, c.id, c.keys from rowmill.chunks as c where c.pipeline_id = ${pipelineId} and c.state in ('waiting', 'accepted')
      union all
      select 1, p.id, p.keys from rowmill.pending_keys as p where p.pipeline_id = ${pipelineId}
    ) as q
    cross join lateral jsonb_array_elements(q.keys) with ordinality as e(key, n)
    order by q.place, q.id, e.n`;
  return rows.map((row) => row.key);
}

/** Forgets what is queued, so that a test sees only what comes next. */
export async function emptyQueue(sql: postgres.ISql, pipelineId: number): Promise<void> {
  await sql`delete from rowmill.pending_keys where pipeline_id = ${pipelineId}`;
  await sql`update rowmill.chunks set state = 'done', keys = null, owner = null, lease_until = null, waits_for = null, wait_reason = null, ended_at = now()
    where pipeline_id = ${pipelineId} and state in ('waiting', 'accepted')`;
}

export async function tick(sql: postgres.ISql) {
  const [row] = await sql`select rowmill.tick() as counts`;
  return row!.counts as { queued: number; formed: number; posted: number; released: number; more: boolean };
}

export async function problemOf(sql: postgres.ISql, name: string): Promise<string | null> {
  const [row] = await sql`select problem from rowmill.pipeline_status where name = ${name}`;
  return row!.problem;
}

export type HeldRow = { c: number; n: number; h: string; input: Record<string, string | null> };

/** Takes every waiting chunk of a pipeline as a worker does; returns the rows that may be sent. */
export async function takeChunks(
  sql: postgres.ISql,
  name: string,
  worker = 'w',
): Promise<{ chunkIds: number[]; rows: HeldRow[] }> {
  const chunks = await sql`
    select c.id, c.row_count from rowmill.chunks as c join rowmill.pipelines as p on p.id = c.pipeline_id
    where p.name = ${name} and p.state <> 'dropped' and c.state = 'waiting' order by c.id`;
  const rows: HeldRow[] = [];
  for (const chunk of chunks) {
    const [claim] = await sql`select status from rowmill.claim_chunk(${chunk.id}, ${name}, ${worker})`;
    if (claim!.status !== 'accepted') throw new Error(`chunk ${chunk.id} is ${claim!.status}`);
    const read = await sql<{ n: number; hash: string; input: Record<string, string | null> }[]>`
      select * from rowmill.read_chunk(${chunk.id}, 0, ${chunk.row_count}) order by n`;
    const held = await sql`
      select n from rowmill.hold_rows(${chunk.id}, ${worker}, ${sql.json(read.map(({ n, hash }) => ({ n, hash })))})`;
    const mine = new Set(held.map((row) => row.n));
    for (const row of read) {
      if (mine.has(row.n)) rows.push({ c: chunk.id, n: row.n, h: row.hash, input: row.input });
    }
  }
  return { chunkIds: chunks.map((chunk) => chunk.id), rows };
}

export type IntentOptions = {
  worker?: string;
  key?: string;
  /** The pipeline's current one where nothing is said. */
  version?: number;
  requests?: number;
  rawInputTokens?: number;
  maxOutputTokens?: number | null;
  leftOver?: Place[];
  twins?: (Place & { of: number })[];
};

/** Writes the intent of a batch over accepted chunks, as a worker does; resolves with what it is told. */
export async function beginBatch(
  sql: postgres.ISql,
  chunkIds: number[],
  options: IntentOptions = {},
): Promise<BeginResult> {
  const chunks = sql.array(chunkIds, 20);
  const version =
    options.version ??
    sql`(
      select p.version from rowmill.pipelines as p
      where p.id = (select min(c.pipeline_id) from rowmill.chunks as c where c.id = any (${chunks}))
    )`;
  const [row] = await sql`
    select rowmill.begin_batch(
      ${options.worker ?? 'w'}, ${options.key ?? 'key'}, ${chunks}, ${version}, ${options.requests ?? 1}, 1,
      ${options.rawInputTokens ?? 1}, ${options.maxOutputTokens ?? null},
      ${sql.json(options.leftOver ?? [])}, ${sql.json(options.twins ?? [])}
    ) as result`;
  return row!.result;
}

/** The same, where it must succeed; resolves with the batch. */
export async function begunBatch(
  sql: postgres.ISql,
  chunkIds: number[],
  options: IntentOptions = {},
): Promise<number> {
  const result = await beginBatch(sql, chunkIds, options);
  if (result.status !== 'begun') throw new Error(`no batch was begun: ${JSON.stringify(result)}`);
  return result.batch_id;
}

/** Ends the harvest of a batch; rows that no file mentioned are missing where nothing else is said. Resolves with how many. */
export async function finishHarvest(
  sql: postgres.ISql,
  batchId: number,
  options: {
    worker?: string;
    class?: string;
    message?: string;
    retried?: boolean;
    counted?: boolean;
    noted?: boolean;
  } = {},
): Promise<number | null> {
  const [row] = await sql`
    select rowmill.finish_harvest(
      ${batchId}, ${options.worker ?? 'w'}, ${options.class ?? 'missing'}, null, ${options.message ?? 'no line'},
      ${options.retried ?? true}, ${options.counted ?? true}, ${options.noted ?? true}
    ) as rest`;
  return row!.rest;
}

export type EndedBatch = { batchId: number; chunkIds: number[]; rows: HeldRow[] };
let batches = 0;

/** Puts accepted chunks into a batch that the provider has. */
export async function startBatch(
  sql: postgres.ISql,
  taken: { chunkIds: number[]; rows: HeldRow[] },
  worker = 'w',
): Promise<EndedBatch> {
  batches += 1;
  const key = `key-${batches}`;
  const batchId = await begunBatch(sql, taken.chunkIds, { worker, key, requests: taken.rows.length });
  await sql`select rowmill.note_input_file(${batchId}, ${worker}, ${`file-${batches}`})`;
  await sql`select rowmill.start_batch(${batchId}, ${`batch-${batches}`}, 'in_progress', 'file')`;
  return { ...taken, batchId };
}

/** Ends a running batch; `worker` then holds its harvest. */
export async function endBatch(sql: postgres.ISql, batchId: number, worker = 'w'): Promise<void> {
  await sql`
    select rowmill.record_polls(${sql.json([
      {
        ...{ batch_id: batchId, provider_status: 'completed', is_terminal: true, output_file_id: 'out' },
        ...{ error_file_id: null, requests_completed: 0, requests_failed: 0, provider_errors: null },
        ...{ input_tokens: null, cached_tokens: null, output_tokens: null },
      },
    ])})`;
  await sql`select rowmill.claim_ended_batches(${worker}, 100)`;
}

/** Everything that is queued, in one batch that has ended and whose harvest `worker` holds. */
export async function endedBatch(sql: postgres.ISql, name: string, worker = 'w'): Promise<EndedBatch> {
  await sql`select rowmill.flush(${name})`;
  const batch = await startBatch(sql, await takeChunks(sql, name, worker), worker);
  await endBatch(sql, batch.batchId, worker);
  return batch;
}

export type Counts = Record<'enriched' | 'stale' | 'gone' | 'failed' | 'duplicate' | 'unknown', number>;

/** Applies one slice of an ended batch; positions follow on from the batch's own where none is given. */
export async function apply(
  sql: postgres.ISql,
  batchId: number,
  slice: {
    answers?: Json[];
    failures?: Json[];
    from?: number;
    worker?: string;
    file?: string;
    unknown?: number;
    repeated?: number;
  },
): Promise<Counts | null> {
  const file = slice.file ?? 'output';
  const [batch] = await sql`
    select output_position, error_position from rowmill.batch_processing_details where id = ${batchId}`;
  const from = slice.from ?? batch![`${file}_position`];
  const [row] = await sql`
    select rowmill.apply_results(
      ${batchId}, ${slice.worker ?? 'w'}, ${file}, ${from}, ${from + 100},
      ${JSON.stringify(slice.answers ?? [])}::text::jsonb, ${JSON.stringify(slice.failures ?? [])}::text::jsonb,
      ${slice.unknown ?? 0}, ${slice.repeated ?? 0}, 10, 2, 5, ${slice.answers?.length ?? 0}
    ) as counts`;
  return row!.counts;
}

export function answer(row: HeldRow, ...values: Json[]) {
  return {
    c: row.c,
    n: row.n,
    h: row.h,
    ...Object.fromEntries(values.map((value, at) => [`o${at}`, value])),
  };
}

export function failure(
  row: HeldRow,
  verdict: { class?: string; retried?: boolean; counted?: boolean } = {},
) {
  return {
    c: row.c,
    n: row.n,
    h: row.h,
    class: 'server_error',
    code: '500',
    message: 'the provider stumbled',
    retried: true,
    counted: true,
    ...verdict,
  };
}
