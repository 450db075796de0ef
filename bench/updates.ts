import type postgres from 'postgres';
import { interleave, type Row, ratioRow, timed } from './measure.ts';
import { insertStatements } from './rows.ts';
import { createTables } from './tables.ts';

const count = 50_000;

/** An update of a column that no pipeline reads. */
export async function benchUpdates(sql: postgres.Sql, runs: number): Promise<Row[]> {
  const tables = await createTables(sql);
  await tables.empty(tables.bare, tables.piped);
  for (const table of [tables.bare, tables.piped]) {
    for (const statement of insertStatements(table, count, 1000)) await sql.unsafe(statement);
  }
  const variant = (table: string) => async () => {
    await sql.unsafe(`vacuum ${table}`);
    await sql.unsafe('checkpoint');
    return await timed(() => sql.unsafe(`update ${table} set views = views + 1`));
  };
  const times = await interleave(runs, { bare: variant(tables.bare), piped: variant(tables.piped) });
  return [ratioRow('update of a column that is no input', times.piped!, times.bare!, 1.03)];
}
