import type postgres from 'postgres';

/** The names of what a worker may call, by the one list of it, sorted. */
export async function workerFunctionsOf(sql: postgres.ISql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select p.proname::text as name
    from rowmill.worker_functions() as w(oid)
    join pg_proc as p on p.oid = w.oid`;
  return rows.map((row) => row.name).sort();
}
