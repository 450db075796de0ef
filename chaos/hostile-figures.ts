import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from './connection.ts';
import { subjects as healthy } from './subjects.ts';

const firstAnswerMs = 120_000;

/** A stretch of time, by the clock that Postgres has as well. */
export type Phase = { from: Date; to: Date };

export type Figures = {
  inserted: number;
  enriched: number;
  perSecond: number;
  /** From insert to answer, of the rows that came in the phase; Infinity where that has none. */
  medianSeconds: number;
  ninetiethSeconds: number;
};

/** How the healthy pipelines did in a phase, read once it is long over. */
export async function figuresOf(connection: Connection, { from, to }: Phase): Promise<Figures> {
  const waits: number[] = [];
  let enriched = 0;
  for (const { name } of healthy) {
    const rows = await connection.run((sql) =>
      sql.unsafe<{ seconds: number | null }[]>(
        `select extract(epoch from w.at - t.born)::float8 as seconds
         from ${name} as t left join written as w on w.name = $1 and w.id = t.id
         where t.born >= $2 and t.born < $3`,
        [name, from, to],
      ),
    );
    waits.push(...rows.map((row) => row.seconds ?? Number.POSITIVE_INFINITY));
    const [count] = await connection.run(
      (sql) => sql<{ rows: number }[]>`
        select count(*)::integer as rows from written as w where w.name = ${name} and w.at >= ${from} and w.at < ${to}`,
    );
    enriched += count!.rows;
  }
  waits.sort((a, b) => a - b);
  const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(share * waits.length))] ?? 0;
  return {
    inserted: waits.length,
    enriched,
    perSecond: (enriched * 1000) / (to.getTime() - from.getTime()),
    medianSeconds: at(0.5),
    ninetiethSeconds: at(0.9),
  };
}

/** Waits for the first answer; raises where none comes. */
export async function untilFirstAnswer(connection: Connection, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + firstAnswerMs;
  for (;;) {
    const [row] = await connection.run(
      (sql) => sql<{ some: boolean }[]>`select exists (select from written) as some`,
    );
    if (row!.some) return;
    if (performance.now() > deadline) throw new Error('the worker has not answered a single row');
    await delay(200, undefined, { signal });
  }
}

/** How many healthy rows have neither an answer nor a failure. */
export async function openHealthyRows(connection: Connection): Promise<number> {
  const names = `{${healthy.map(({ name }) => name)}}`;
  const [row] = await connection.run(
    (sql) => sql<{ open: number }[]>`
      select sum(s.pending + s.waiting + s.in_flight + s.retrying)::integer as open
      from rowmill.pipeline_status as s where s.name = any (${names}::text::text[])`,
  );
  return row!.open;
}
