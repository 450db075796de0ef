import type postgres from 'postgres';
import { interleave, type Row, ratioRow, timed } from './measure.ts';
import { insertStatements } from './rows.ts';
import { createTables } from './tables.ts';

const count = 50_000;
const updatesARun = 5;

/** An update of a column that no pipeline reads. */
export async function benchUpdates(sql: postgres.Sql, runs: number): Promise<Row[]> {
  const tables = await createTables(sql);
  await tables.empty(tables.bare, tables.piped);
  for (const table of [tables.bare, tables.piped]) {
    for (const statement of insertStatements(table, count, 1000)) await sql.unsafe(statement);
  }
  // Several updates a run: one takes a third of a second, and what a shared disk does in the meantime as much.
  const variant = (table: string) => async () => {
    let milliseconds = 0;
    for (let time = 0; time < updatesARun; time += 1) {
      await sql.unsafe(`vacuum ${table}`);
      await sql.unsafe('checkpoint');
      milliseconds += await timed(() => sql.unsafe(`update ${table} set views = views + 1`));
    }
    return milliseconds;
  };
  const times = await interleave(runs, { bare: variant(tables.bare), piped: variant(tables.piped) });
  return [ratioRow('update of a column that is no input', times.piped!, times.bare!, 1.03)];
}
