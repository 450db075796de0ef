import type postgres from 'postgres';

/** A row of rowmill.pipeline_status. */
export type Status = {
  state: string;
  state_reason: string | null;
  problem: string | null;
  pending: number;
  waiting: number;
  in_flight: number;
  enriched: number;
  failed: number;
  retrying: number;
  gone: number;
  open_batches: number;
  batches: number;
  input_tokens: number;
  output_tokens: number;
  /** Null while unknown; numeric comes as text. */
  spent_usd: string | null;
};

export type Missing = { id: number; title: string; explanation: string };
export type Enriched = { title: string; categories: string[] | null; summary: string | null };

export async function readStatus(sql: postgres.Sql): Promise<Status> {
  const [row] = await sql<Status[]>`select * from rowmill.pipeline_status where name = 'movies'`;
  if (!row) throw new Error('the pipeline "movies" is gone: somebody dropped it');
  return row;
}

export async function countChunks(sql: postgres.Sql): Promise<number> {
  const [row] = await sql<{ chunks: number }[]>`
    select count(*) as chunks
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    where p.name = 'movies' and p.state = 'active'
  `;
  return row?.chunks ?? 0;
}

/** The rows without an answer, the first few of them with what Rowmill says about each. */
export async function readMissing(
  sql: postgres.Sql,
  most: number,
): Promise<{ count: number; rows: Missing[] }> {
  const [counted] = await sql<{ count: number }[]>`
    select count(*) as count from public.imdb_dataset where categories is null and summary is null
  `;
  const rows = await sql<Missing[]>`
    select m.id, m."Title" as title, w.explanation
    from (
      select id, "Title" from public.imdb_dataset where categories is null and summary is null order by id limit ${most}
    ) as m
    cross join lateral rowmill.why('movies', m.id::text) as w
    order by m.id
  `;
  return { count: counted?.count ?? 0, rows: [...rows] };
}

/** Rows from all over the table: its beginning alone would be one decade of films. */
export async function readSample(sql: postgres.Sql, most: number, total: number): Promise<Enriched[]> {
  const ids = Array.from({ length: most }, (_, at) => 1 + Math.floor((at * total) / most));
  const rows = await sql<Enriched[]>`
    select "Title" as title, categories, summary
    from public.imdb_dataset
    where id = any(${[...new Set(ids)]}::bigint[]) and (categories is not null or summary is not null)
    order by id
  `;
  return [...rows];
}
