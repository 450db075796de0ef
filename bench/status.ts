import type postgres from 'postgres';
import { median, type Row, timed } from './measure.ts';
import { createTables } from './tables.ts';

const pending = 1_000_000;
const atOnce = 100_000;
const looks = 9;

/** What it costs to look at pipeline_status while a million rows wait in the queue, a thousand to an entry. */
export async function benchStatus(sql: postgres.Sql): Promise<Row[]> {
  const tables = await createTables(sql);
  await tables.empty(tables.piped);
  await tables.paused(async () => {
    for (let from = 0; from < pending; from += atOnce) {
      await sql`insert into piped (title) select 'Film ' || n from generate_series(1, ${atOnce}::integer) as n`;
    }
    return 0;
  });
  // Not paused, so that it says why nothing is sent as well. Nobody forms chunks meanwhile.
  const times: number[] = [];
  for (let look = 0; look < looks; look += 1) {
    times.push(
      await timed(async () => {
        const [row] = await sql<
          { pending: string }[]
        >`select * from rowmill.pipeline_status where name = 'bench'`;
        if (Number(row!.pending) !== pending)
          throw new Error(`${row!.pending} rows are pending, not ${pending}`);
      }),
    );
  }
  const ms = median(times);
  await tables.empty(tables.piped);
  return [
    {
      what: `pipeline_status with ${pending} rows pending, ms`,
      value: ms.toFixed(1),
      goal: '< 50',
      spread: `${Math.min(...times).toFixed(1)}–${Math.max(...times).toFixed(1)}`,
      verdict: ms < 50 ? 'met' : 'missed',
    },
  ];
}
