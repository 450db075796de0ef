import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitFor } from '../support/service.ts';
import {
  answer,
  apply,
  createFilms,
  createPipeline,
  endedBatch,
  insertFilms,
  takeChunks,
} from '../support/sql-factories.ts';

let database: TestDatabase;
let clients: postgres.Sql[] = [];
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.end({ timeout: 1 })));
  await database.drop();
});

function session(name: string): postgres.Sql {
  const client = postgres(database.url, {
    max: 1,
    onnotice: () => {},
    connection: { application_name: name },
  });
  clients = [...clients, client];
  return client;
}
const waits = (name: string) =>
  waitFor(`${name} waits for a lock`, async () => {
    const rows = await database.sql`
      select from pg_stat_activity where application_name = ${name} and wait_event_type = 'Lock'`;
    return rows.length > 0;
  });

it('where a slice and a user\u2019s update wait for each other, it is the slice that gives way', async () => {
  const { sql } = database;
  await createFilms(sql);
  await createPipeline(sql);
  await insertFilms(sql, 1, 3);
  const batch = await endedBatch(sql, 'films');
  const answers = batch.rows.map((row) => answer(row, 'an answer'));
  const gate = session('gate');
  const user = session('user');
  const worker = session('worker');

  // The slice takes film 1 and stops at film 2; the user, who has film 3, asks for film 1.
  await gate`begin`;
  await gate`select from films where id = 2 for update`;
  await user`begin`;
  await user`update films set note = 'mine' where id = 3`;
  const applied = apply(worker, batch.batchId, { answers }).then(
    () => null,
    (error: postgres.PostgresError) => error.code,
  );
  await waits('worker');
  const updated = user`update films set note = 'mine' where id = 1`.then(
    () => null,
    (error: postgres.PostgresError) => error.code,
  );
  await waits('user');
  // Now the slice goes on to film 3, which closes the circle; the user has been waiting for longer.
  await gate`rollback`;

  expect(await updated).toBeNull();
  expect(await applied).toBe('55P03');
  await user`commit`;
  // Nothing of the slice was kept, and it can be applied later.
  expect(await apply(sql, batch.batchId, { answers })).toMatchObject({ enriched: 3 });
});

it('whoever takes rows into flight waits for who settles them without holding what that one needs next', async () => {
  const { sql } = database;
  await createFilms(sql, 'public.more_films');
  const pipelineId = await createPipeline(sql, { name: 'more', source: 'public.more_films' });
  await insertFilms(sql, 1, 1, 'public.more_films');
  await sql`select rowmill.flush('more')`;
  const {
    chunkIds: [first],
    rows: [row],
  } = await takeChunks(sql, 'more');
  // It failed once before it was edited, and its edit is queued a second time.
  await sql`
    insert into rowmill.failures (pipeline_id, key, hash, error_class, message, attempts, is_final)
    values (${pipelineId}, '[1]', 'another', 'server_error', 'it failed', 1, false)`;
  await sql`insert into rowmill.pending_keys (pipeline_id, keys, row_count) values (${pipelineId}, '[[1]]', 1)`;
  await sql`select rowmill.flush('more')`;
  const [second] = await sql`select id from rowmill.chunks where state = 'waiting'`;
  await sql`select rowmill.claim_chunk(${second!.id}, 'more', 'w2')`;

  const settler = session('settler');
  const holder = session('holder');
  await settler`begin`;
  await settler`delete from rowmill.chunk_rows where chunk_id = ${first!}`;
  const held = holder`
    select rowmill.hold_rows(${second!.id}, 'w2', ${holder.json([{ n: 0, hash: row!.h }])})`.execute();
  await waits('holder');
  expect(await settler`select from rowmill.failures for update nowait`).toHaveLength(1);
  await settler`rollback`;
  // It was in flight all the time.
  expect(await held).toHaveLength(0);
});
