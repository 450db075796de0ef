import type postgres from 'postgres';
import type { AnsweredRow } from '../src/store/store.ts';
import { interleave, type Row, ratioRow, timed } from './measure.ts';
import { insertStatements } from './rows.ts';
import { createTables } from './tables.ts';

const count = 20_000;
const sliceRows = 1000;

type Answer = { id: number; categories: string[]; summary: string };

function answer(id: number): Answer {
  return {
    id,
    categories: ['Drama', 'War'],
    summary: `Film ${id}: a sentence about what happens in it, and why.`,
  };
}

/** apply_results against a bare `update … from unnest` of the same rows and columns, in the same slices. */
export async function benchApplies(sql: postgres.Sql, runs: number): Promise<Row[]> {
  const tables = await createTables(sql);
  const answers = Array.from({ length: count }, (_, at) => answer(at + 1));
  const refill = async () => {
    await tables.empty(tables.piped);
    await sql.unsafe('delete from rowmill.batch_processing_details');
    for (const statement of insertStatements(tables.piped, count, 1000)) await sql.unsafe(statement);
    await sql.unsafe(`analyze ${tables.piped}`);
  };

  const bare = async () => {
    await refill();
    await sql.unsafe('checkpoint');
    return await timed(async () => {
      for (let from = 0; from < count; from += sliceRows) {
        const slice = answers.slice(from, from + sliceRows);
        // unnest flattens arrays of arrays, so the categories travel as Postgres' own text.
        await sql`
          update piped as s
          set categories = v.categories::text[], summary = v.summary
          from unnest(${slice.map((row) => row.id)}::bigint[], ${slice.map((row) => `{${row.categories.join(',')}}`)}::text[], ${slice.map((row) => row.summary)}::text[])
            as v(id, categories, summary)
          where s.id = v.id`;
      }
    });
  };

  const applied = async () => {
    await refill();
    const slices = await startBatches(sql);
    await sql.unsafe('checkpoint');
    return await timed(async () => {
      for (const { batchId, rows } of slices) {
        await sql.unsafe(
          `select rowmill.apply_results(
            batch_id => $1, worker => 'bench', file => 'output', from_position => 0, to_position => 1, answers => $2::text::jsonb,
            failures => '[]', unknown_lines => 0, repeated_lines => 0, input_tokens => 1, cached_tokens => 0, output_tokens => 1,
            billed_requests => 1)`,
          [batchId, JSON.stringify(rows)],
          { prepare: true },
        );
      }
    });
  };

  const times = await interleave(runs, { bare, applied });
  return [ratioRow('applying results against a bare update … from unnest', times.applied!, times.bare!, 2.0)];
}

/** Takes every chunk to a batch whose results are waiting, through the functions that a worker calls. */
async function startBatches(sql: postgres.Sql): Promise<{ batchId: number; rows: AnsweredRow[] }[]> {
  await sql`select rowmill.flush('bench')`;
  const chunks = await sql<{ chunk_id: number }[]>`select chunk_id from rowmill.claim_work('bench', 1000)`;
  const slices: { batchId: number; rows: AnsweredRow[] }[] = [];
  for (const { chunk_id: chunkId } of chunks) {
    const rows = await sql<{ n: number; hash: string; id: number }[]>`
      select r.n, r.hash, (c.keys -> r.n ->> 0)::bigint as id
      from rowmill.read_chunk(${chunkId}, 0, ${sliceRows}) as r
      join rowmill.chunks as c on c.id = ${chunkId}
      order by r.n`;
    const held = rows.map(({ n, hash }) => ({ n, hash }));
    await sql`select count(*) from rowmill.hold_rows(${chunkId}, 'bench', ${JSON.stringify(held)}::text::jsonb)`;
    const [batch] = await sql<{ id: number }[]>`
      select (rowmill.begin_batch(
        'bench', gen_random_uuid()::text, array[${chunkId}::bigint], 1, ${rows.length}, 1, 1, null
      ) ->> 'batch_id')::bigint as id`;
    const batchId = batch!.id;
    await sql`select rowmill.start_batch(${batchId}, ${`batch_${batchId}`}, 'validating', 'file')`;
    await sql`
      select rowmill.record_polls(jsonb_build_array(jsonb_build_object(
        'batch_id', ${batchId}::bigint, 'provider_status', 'completed', 'is_terminal', true, 'output_file_id', 'file',
        'requests_completed', ${rows.length}::integer, 'requests_failed', 0
      )))`;
    slices.push({
      batchId,
      rows: rows.map(({ n, hash, id }) => {
        const { categories, summary } = answer(Number(id));
        return { c: Number(chunkId), n, h: hash, o0: categories, o1: summary };
      }),
    });
  }
  await sql`select count(*) from rowmill.claim_ended_batches('bench', 1000)`;
  return slices;
}
