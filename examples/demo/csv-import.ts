import type { Readable } from 'node:stream';
import papaparse from 'papaparse';
import type postgres from 'postgres';

/** What the Supabase dashboard takes from a file at a time: 0.1 MB. */
export const pieceBytes = Math.floor(1024 * 1024 * 0.1);

export type CsvRow = Record<string, string | null>;

/**
 * Reads a CSV the way the Supabase dashboard imports a file: piece by piece, whatever lines a piece completes
 * going into one statement, and the next piece only after that. Values stay text, an empty cell is null.
 * The statements are no transaction: when one fails, those before it stay, as they do there.
 */
export function importCsv(
  csv: Readable,
  insert: (rows: CsvRow[]) => Promise<unknown>,
): Promise<{ rows: number; statements: number }> {
  return new Promise((resolve, reject) => {
    let rows = 0;
    let statements = 0;
    // Rejected before it is aborted: the parser calls an abort complete.
    const fail = (error: Error, parser?: papaparse.Parser) => {
      reject(error);
      parser?.abort();
      csv.destroy();
    };
    papaparse.parse<Record<string, string>>(csv, {
      header: true,
      dynamicTyping: false, // "00001" is not 1
      skipEmptyLines: true,
      chunk({ data, errors }, parser) {
        const [broken] = errors;
        if (broken) {
          const row = rows + (broken.row ?? 0) + 1;
          fail(new Error(`the CSV is broken near row ${row}: ${broken.message}`), parser);
          return;
        }
        // At the end of a stream the parser looks once more and finds nothing.
        if (data.length === 0) return;
        parser.pause();
        // The parser would go on collecting pieces while it is paused.
        csv.pause();
        insert(data.map(emptyToNull)).then(
          () => {
            rows += data.length;
            statements += 1;
            csv.resume();
            parser.resume();
          },
          (error: Error) => fail(error, parser),
        );
      },
      complete: () => resolve({ rows, statements }),
      error: (error) => fail(error),
    });
  });
}

/** One statement for all the rows, in the form in which the dashboard writes it. */
export async function insertRows(sql: postgres.Sql, table: string, rows: CsvRow[]): Promise<void> {
  const columns = sql(Object.keys(rows[0] ?? {}));
  await sql`
    insert into ${sql(table)} (${columns})
    select ${columns}
    from jsonb_populate_recordset(null::${sql(table)}, ${JSON.stringify(rows)}::text::jsonb)
  `;
}

function emptyToNull(row: Record<string, string>): CsvRow {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === '' ? null : value]));
}
