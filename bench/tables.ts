import { randomBytes } from 'node:crypto';
import type postgres from 'postgres';
import { pgNetStub } from '../tests/support/pg-net-stub.ts';

export type Tables = Awaited<ReturnType<typeof createTables>>;

/** Two tables alike, one of them with a pipeline. pg_net's queue is a stub: nothing is sent. */
export async function createTables(sql: postgres.Sql) {
  const [{ exists } = { exists: false }] = await sql<{ exists: boolean }[]>`
    select to_regnamespace('net') is not null as exists`;
  if (!exists) await sql.unsafe(pgNetStub);
  await sql.unsafe(`
    drop table if exists bare, piped;
    create table bare (
      id bigint generated always as identity primary key,
      title text, description text, views integer not null default 0, categories text[], summary text
    );
    create table piped (like bare including all);
  `);
  await sql.unsafe(`
    select rowmill.drop_pipeline(name) from rowmill.pipeline_status;
  `);
  await sql.unsafe(`
    select rowmill.create_pipeline(
      name => 'bench', source => 'piped', instructions => 'Extract the film''s categories and a one-sentence summary.',
      prompt => E'Title: {{title}}\\nDescription: {{description}}', outputs => array['categories', 'summary'], model => 'gpt-4o-mini'
    )`);
  const secret = `whsec_${randomBytes(32).toString('base64')}`;
  await sql`select rowmill.set_endpoint('http://127.0.0.1:9/v1/chunks', ${secret})`;
  await sql`update rowmill.settings set endpoint_url = null`;

  return {
    bare: 'bare',
    piped: 'piped',
    /** Empties the tables and lets Postgres catch its breath, so that a run does not pay for the one before. */
    async empty(...tables: string[]) {
      await sql.unsafe(
        `truncate ${tables.join(', ')}, rowmill.pending_keys, rowmill.chunks, rowmill.chunk_rows, net.http_request_queue restart identity`,
      );
      await sql.unsafe('checkpoint');
    },
    /** A paused pipeline queues and forms nothing. */
    async paused(work: () => Promise<number>): Promise<number> {
      await sql`select rowmill.pause_pipeline('bench')`;
      const result = await work();
      await sql`select rowmill.resume_pipeline('bench')`;
      return result;
    },
    async withEndpoint(work: () => Promise<number>): Promise<number> {
      await sql`update rowmill.settings set endpoint_url = 'http://127.0.0.1:9/v1/chunks'`;
      const result = await work();
      await sql`update rowmill.settings set endpoint_url = null`;
      return result;
    },
  };
}
