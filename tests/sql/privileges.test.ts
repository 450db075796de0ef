import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { privilegesOf } from '../support/privileges.ts';
import { createFilms, createPipeline } from '../support/sql-factories.ts';

const golden = path.join(import.meta.dirname, 'privileges.golden');

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
  await createFilms(database.sql);
  // Its trigger functions are made anew for each pipeline.
  await createPipeline(database.sql);
});
afterAll(() => database.drop());

it('nobody may do more, or less, than privileges.golden says', async () => {
  const is = await privilegesOf(database.sql);
  if (process.env.UPDATE_GOLDEN === '1') await writeFile(golden, is);
  // Meant? Then UPDATE_GOLDEN=1 writes the file, and the difference is there to be reviewed.
  expect(is).toBe(await readFile(golden, 'utf8'));
});

it('privileges.golden grants the public and whoever comes through Supabase’s API nothing', async () => {
  const lines = (await readFile(golden, 'utf8')).trimEnd().split('\n');
  expect(lines.length).toBeGreaterThan(100);
  expect(lines.filter((line) => /[|;] (public|anon|authenticated):/.test(line))).toEqual([]);
});

it.each([
  ['grant select on rowmill.pipelines to anon', 'table pipelines', 'anon: select'],
  [
    'grant update (value) on rowmill.secrets to authenticated',
    'column secrets.value',
    'authenticated: update',
  ],
  [
    'grant usage on sequence rowmill.chunks_id_seq to service_role',
    'sequence chunks_id_seq',
    'service_role: usage',
  ],
  ['grant usage on schema rowmill to public', 'schema rowmill', 'public: usage'],
  [
    'grant execute on function rowmill.enqueue_inserted_1() to public',
    'function enqueue_inserted_1()',
    'public: execute',
  ],
])('a golden file would show: %s', async (grant, thing, right) => {
  await database.sql
    .begin(async (tx) => {
      await tx.unsafe(grant);
      const lines = (await privilegesOf(tx as never)).split('\n');
      expect(lines.find((line) => line.startsWith(`${thing} |`))).toContain(right);
      throw new Error('undone');
    })
    .catch((error: Error) => {
      if (error.message !== 'undone') throw error;
    });
});
