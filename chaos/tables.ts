import type { Connection } from './connection.ts';
import { type Subject, subjects } from './subjects.ts';

// A fast world: what takes minutes takes seconds here. Each is larger than what it must outlast all the same.
const settings: Record<string, string> = {
  lease: '3 seconds',
  adopt_after: '6 seconds',
  fetch_after: '500 milliseconds',
  repost_after: '1 second',
  poll_every: '200 milliseconds',
  retry_after: '500 milliseconds',
};

/** Settings, tables and pipelines, and a trigger that keeps an account of every answer that is written. */
export async function prepareTables(
  connection: Connection,
  wanted: readonly Subject[] = subjects,
  others: Record<string, string> = {},
): Promise<void> {
  const columns = await connection.run(
    (sql) => sql<{ name: string }[]>`
      select column_name as name from information_schema.columns
      where table_schema = 'rowmill' and table_name = 'settings'`,
  );
  const there = new Set(columns.map((column) => column.name));
  const assignments = Object.entries({ ...settings, ...others })
    .filter(([name]) => there.has(name))
    .map(([name, value]) => `${name} = '${value}'`);
  await connection.run((sql) => sql.unsafe(`update rowmill.settings set ${assignments.join(', ')}`));
  await connection.run((sql) =>
    sql.unsafe('create table written (id bigint, name text, input jsonb, outputs jsonb, at timestamptz)'),
  );
  for (const subject of wanted) {
    await connection.run((sql) => sql.unsafe(subject.table));
    await connection.run((sql) => sql.unsafe(accountSql(subject)));
    await connection.run((sql) => sql.unsafe(subject.pipeline));
  }
}

/** A stale answer is soon covered by the right one: at the end nobody could tell that it was ever written. */
function accountSql(subject: Subject): string {
  const { name, outputs } = subject;
  const row = (which: string) => `(${outputs.map((output) => `${which}.${output}`).join(', ')})`;
  return `
    create function note_${name}() returns trigger language plpgsql as $$
    begin
      insert into public.written
      values (new.id, '${name}', ${inputSql(subject, 'new')}, ${outputSql(subject, 'new')}, clock_timestamp());
      return null;
    end;
    $$;
    create trigger note after update on ${name} for each row
    when (${row('old')} is distinct from ${row('new')}) execute function note_${name}()`;
}

/** A row's inputs as JSON, each as text. */
export function inputSql({ inputs }: Subject, row: string): string {
  return `jsonb_build_object(${inputs.map((name) => `'${name}', ${row}.${name}::text`).join(', ')})`;
}

/** A row's outputs as a JSON array. */
export function outputSql({ outputs }: Subject, row: string): string {
  return `jsonb_build_array(${outputs.map((name) => `${row}.${name}`).join(', ')})`;
}
