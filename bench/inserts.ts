import type postgres from 'postgres';
import { interleave, type Row, ratioRow, timed } from './measure.ts';
import { insertStatements } from './rows.ts';
import { createTables, type Tables } from './tables.ts';

/** Inserts with a pipeline against inserts without; every statement commits by itself. */
export async function benchInserts(sql: postgres.Sql, runs: number): Promise<Row[]> {
  const tables = await createTables(sql);
  const many = await measure(sql, tables, runs, 100_000, 175);
  const single = await measure(sql, tables, runs, 10_000, 1);
  return [
    ratioRow('insert, 175 rows a statement: queueing alone', many.queueing!, many.bare!, 1.15),
    ratioRow('insert, 175 rows a statement: chunks formed', many.forming!, many.bare!, 1.6),
    ratioRow('insert, 175 rows a statement: chunks formed and posted', many.posting!, many.bare!, 1.6),
    ratioRow('insert, single rows: chunks formed and posted', single.posting!, single.bare!, 1.3),
  ];
}

async function measure(
  sql: postgres.Sql,
  tables: Tables,
  runs: number,
  count: number,
  perStatement: number,
): Promise<Record<string, number[]>> {
  const variant = (table: string) => {
    const statements = insertStatements(table, count, perStatement);
    return async () => {
      await tables.empty(table);
      return await timed(async () => {
        for (const statement of statements) await sql.unsafe(statement);
      });
    };
  };
  const posting = variant(tables.piped);
  const forming = variant(tables.piped);
  return await interleave(runs, {
    bare: variant(tables.bare),
    queueing: async () => await tables.paused(variant(tables.piped)),
    forming,
    posting: async () => await tables.withEndpoint(posting),
  });
}
