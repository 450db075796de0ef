import type postgres from 'postgres';

/** A table as an import makes it, and the pipeline of the README over it. */
export async function createFilmsPipeline(
  sql: postgres.Sql,
  options: {
    table?: string;
    name?: string;
    flushAfter?: string;
    chunkSize?: number;
    maxAttempts?: number;
  } = {},
): Promise<void> {
  const {
    table = 'public.films',
    name = 'films',
    flushAfter = '1 second',
    chunkSize = 1000,
    maxAttempts = 3,
  } = options;
  await sql.unsafe(
    `create table ${table} (
      id bigint generated always as identity primary key,
      title text,
      description text,
      note text,
      categories text[],
      summary text
    )`,
  );
  await sql`
    select rowmill.create_pipeline(
      name => ${name}, source => ${table}::text::regclass, instructions => 'Extract the film''s categories and a one-sentence summary.',
      prompt => ${'Title: {{title}}\nDescription: {{description}}'}, outputs => array['categories', 'summary'], model => 'gpt-4o-mini',
      flush_after => ${flushAfter}::text::interval, chunk_size => ${chunkSize}, max_attempts => ${maxAttempts}
    )`;
}
