import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { RowmillError } from '../../src/errors.ts';

export const table = 'public.imdb_dataset';
/** By this comment the demo knows a table as its own. */
export const tableMark = 'Made by the demo of Rowmill, which drops it and makes it anew at each start.';

const movies = path.join(import.meta.dirname, '..', 'movies');
const hurried = '500 milliseconds';

export function connect(url: string): postgres.Sql {
  const sql = postgres(url, {
    max: 3,
    // Poolers in transaction mode know no prepared statements, and the demo gains nothing by them.
    prepare: false,
    onnotice: () => {},
    connection: { application_name: 'rowmill-demo' },
    types: { bigint: { to: 20, from: [20], serialize: String, parse: Number } },
  });
  return sql as unknown as postgres.Sql;
}

/** Where a connection string leads, without its password. */
export function placeOf(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `${hostname}:${port || '5432'}${pathname}`;
}

/**
 * Raises RowmillError unless a worker may start in this database, which somebody else may use: the demo's
 * worker would answer the rows of every pipeline there (with made-up answers, or for money that nobody
 * agreed to), and another worker would answer the demo's.
 */
export async function checkDatabase(url: string): Promise<void> {
  const sql = connect(url);
  try {
    await checkTable(sql);
    const [schema] = await sql`select from pg_class where oid = to_regclass('rowmill.pipelines')`;
    if (schema) await checkPipelines(sql);
    await checkWorkers(sql);
  } catch (error) {
    if (error instanceof RowmillError || error instanceof postgres.PostgresError) throw error;
    const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw new RowmillError('demo_database', `DATABASE_URL: ${placeOf(url)} cannot be reached: ${reason}`);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function checkTable(sql: postgres.Sql): Promise<void> {
  const [found] = await sql<{ mark: string | null }[]>`
    select obj_description(oid, 'pg_class') as mark from pg_class where oid = to_regclass(${table})
  `;
  if (found && found.mark !== tableMark) {
    throw new RowmillError(
      'demo_table',
      `${table} exists, and the demo did not make it: it is left alone.\nRename it, or set DATABASE_URL to another database.`,
    );
  }
}

async function checkPipelines(sql: postgres.Sql): Promise<void> {
  const others = await sql<{ name: string }[]>`
    select name from rowmill.pipelines
    where state <> 'dropped' and (name <> 'movies' or source is distinct from to_regclass(${table}))
    order by name
  `;
  if (others.length > 0) {
    throw new RowmillError(
      'demo_pipelines',
      `This database has other pipelines (${others.map(({ name }) => name).join(', ')}), and the demo's worker would answer their rows too.\nSet DATABASE_URL to another database.`,
    );
  }
}

async function checkWorkers(sql: postgres.Sql): Promise<void> {
  // A worker that has just stopped takes a moment to vanish.
  for (let looks = 0; looks < 10; looks++) {
    const [other] = await sql`
      select from pg_stat_activity where datname = current_database() and application_name = 'rowmill'
    `;
    if (!other) return;
    await sleep(200);
  }
  throw new RowmillError(
    'demo_worker',
    "A Rowmill worker is at work in this database, and would answer the demo's rows.\nStop it, or set DATABASE_URL to another database.",
  );
}

/** The table and the pipeline, empty and new, whatever an earlier demo left. */
export async function prepare(sql: postgres.Sql): Promise<void> {
  await sql.begin(async (transaction) => {
    const inside = transaction as unknown as postgres.Sql;
    await inside`set local lock_timeout = '10 s'`;
    await checkTable(inside);
    await inside`select rowmill.drop_pipeline(name) from rowmill.pipelines where name = 'movies' and state <> 'dropped'`;
    await inside`drop table if exists ${inside(table)}`;
    await inside.unsafe(readFileSync(path.join(movies, 'table.sql'), 'utf8')).simple();
    await inside.unsafe(`comment on table ${table} is '${tableMark}'`);
    await inside.unsafe(readFileSync(path.join(movies, 'pipeline.sql'), 'utf8')).simple();
  });
}

/**
 * Polls at a pace for the simulator, whose batches are over at once; resolves with what sets the old one again.
 * It must not outlive the demo: at such haste a provider would refuse to answer.
 */
export async function hurryPolls(sql: postgres.Sql): Promise<() => Promise<void>> {
  // Left by a demo that was killed, it is nobody's wish.
  await relaxPolls(sql);
  const [before] = await sql<{ poll_every: string }[]>`select poll_every::text from rowmill.settings`;
  await sql`update rowmill.settings set poll_every = ${hurried}`;
  return async () => {
    await sql`update rowmill.settings set poll_every = ${before?.poll_every ?? '30 seconds'}::text::interval`;
  };
}

/** Undoes what a demo left that was killed. */
export async function relaxPolls(sql: postgres.Sql): Promise<void> {
  await sql`update rowmill.settings set poll_every = default where poll_every = ${hurried}`;
}
