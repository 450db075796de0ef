import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  begunBatch,
  createFilms,
  createPipeline,
  emptyQueue,
  endBatch,
  finishHarvest,
  type HeldRow,
  insertFilms,
  startBatch,
} from '../support/sql-factories.ts';

describe('while something older is unread', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let id: number;
  let name: string;
  let table: string;
  let tables = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    if (id) await emptyQueue(sql, id);
    tables += 1;
    name = `films_${tables}`;
    table = `public.${name}`;
    await createFilms(sql, table);
    id = await createPipeline(sql, { name, source: table });
  });

  type Taken = { chunkIds: number[]; rows: HeldRow[] };
  async function form(): Promise<number> {
    const [row] = await sql`select rowmill.form_chunk(${id}, true) as id`;
    return row!.id;
  }
  async function take(chunkId: number): Promise<Taken> {
    await sql`select status from rowmill.claim_chunk(${chunkId}, ${name}, 'w')`;
    const read = await sql<{ n: number; hash: string; input: HeldRow['input'] }[]>`
      select * from rowmill.read_chunk(${chunkId}, 0, 1000)`;
    const held = await sql`
      select n from rowmill.hold_rows(${chunkId}, 'w', ${sql.json(read.map(({ n, hash }) => ({ n, hash })))})`;
    const mine = new Set(held.map((row) => row.n));
    const rows = read.filter((row) => mine.has(row.n));
    return {
      chunkIds: [chunkId],
      rows: rows.map(({ n, hash, input }) => ({ c: chunkId, n, h: hash, input })),
    };
  }
  async function answerAll(taken: Taken): Promise<void> {
    const batch = await startBatch(sql, taken);
    await endBatch(sql, batch.batchId);
    await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, 'x')) });
    await finishHarvest(sql, batch.batchId);
  }
  /** Films 1 to 4, of which 3 and 4 found no room; then the intent was given up, and the chunk waits with all four. */
  async function leaveOver(): Promise<number> {
    await insertFilms(sql, 1, 4, table);
    const chunk = await form();
    await take(chunk);
    const leftOver = [2, 3].map((n) => ({ c: chunk, n }));
    const intent = await begunBatch(sql, [chunk], { key: `key ${name}`, requests: 2, leftOver });
    await sql`select rowmill.abandon_batch(${intent}, 'w', 'p', false)`;
    return chunk;
  }
  async function leaveUnread(): Promise<void> {
    await insertFilms(sql, 99, 99, table);
    await sql.unsafe(`update ${table} set title = 'unread' where id = 99`);
    await form();
  }
  const titles = ({ rows }: Taken) => rows.map((row) => row.input.title);

  it('left-over rows of an intent that is given up are asked once, where they are read first', async () => {
    const chunk = await leaveOver();
    await answerAll(await take(await form()));
    expect((await take(chunk)).rows).toHaveLength(2);
  });
  it('left-over rows of an intent that is given up are asked once, where their old chunk is read first', async () => {
    const chunk = await leaveOver();
    await answerAll(await take(chunk));
    expect((await take(await form())).rows).toHaveLength(0);
  });

  it('a backfill of everything asks again for what was answered before it', async () => {
    await leaveUnread();
    await insertFilms(sql, 1, 1, table);
    await answerAll(await take(await form()));
    await sql`select rowmill.backfill(${name})`;
    await sql`select rowmill.backfill_slice(${id}, 100)`;
    expect(titles(await take(await form()))).toContain('film 1');
  });
  it('a row that is deleted and inserted anew is asked for', async () => {
    await leaveUnread();
    await insertFilms(sql, 1, 1, table);
    await answerAll(await take(await form()));
    await sql.unsafe(`delete from ${table} where id = 1`);
    await insertFilms(sql, 1, 1, table);
    expect(titles(await take(await form()))).toContain('film 1');
  });
  it('a row whose answer was erased is asked for by a backfill of what is missing', async () => {
    await leaveUnread();
    await insertFilms(sql, 1, 1, table);
    await answerAll(await take(await form()));
    await sql.unsafe(`update ${table} set summary = null where id = 1`);
    await sql`select rowmill.backfill(${name}, only_missing => true)`;
    await sql`select rowmill.backfill_slice(${id}, 100)`;
    expect(titles(await take(await form()))).toContain('film 1');
  });
});
