import type { Connection } from './connection.ts';
import type { Mode } from './hostile-modes.ts';
import { subjects as healthy, type Subject } from './subjects.ts';
import { prepareTables } from './tables.ts';

// Nothing is in the way of a hostile pipeline: one that the breaker stops would be hostile no more.
const settings = {
  batches_per_hour: '1000000',
  breaker_batches: '1000000',
  lease: '5 seconds',
  adopt_after: '8 seconds',
};

/** A table for each mode, of few rows and small batches. */
export function hostileSubject({ pipeline: name }: Mode): Subject {
  return {
    name,
    share: 0,
    table: `create table ${name} (id bigint primary key, message text, summary text)`,
    pipeline: `select rowmill.create_pipeline(
      name => '${name}', source => '${name}', instructions => 'Sum the message up.', prompt => 'Message: {{message}}',
      outputs => array['summary'], model => 'gpt-4o-mini', chunk_size => 3, flush_after => '1 second', max_attempts => 2
    )`,
    key: 'id',
    textColumn: 'message',
    inputs: ['message'],
    outputs: ['summary'],
    fields: (id, text) => ({ id, message: text }),
  };
}

/** The tables and pipelines of both kinds. A healthy row knows when it came. */
export async function prepareHostile(connection: Connection, hostile: Subject[]): Promise<void> {
  await prepareTables(connection, [...healthy, ...hostile], settings);
  for (const { name } of healthy) {
    await connection.run((sql) =>
      sql.unsafe(`alter table ${name} add column born timestamptz not null default clock_timestamp()`),
    );
    // A steady flow of small batches.
    await connection.run(
      (sql) => sql`select rowmill.alter_pipeline(${name}, chunk_size => 50, flush_after => '1 second')`,
    );
  }
}
