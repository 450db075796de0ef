import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  answer,
  apply,
  begunBatch,
  createFilms,
  createPipeline,
  type EndedBatch,
  emptyQueue,
  endBatch,
  failure,
  finishHarvest,
  type HeldRow,
  insertFilms,
  startBatch,
  tick,
} from '../support/sql-factories.ts';

type Taken = { chunkIds: number[]; rows: HeldRow[] };

describe('an answer', () => {
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
    if (id) {
      await emptyQueue(sql, id);
      await sql`delete from rowmill.answered_rows`;
    }
    tables += 1;
    name = `films_${tables}`;
    table = `public.${name}`;
    await createFilms(sql, table);
    id = await createPipeline(sql, { name, source: table, max_attempts: 2 });
  });

  /** Everything that is queued, as one chunk that nobody has; returns its id. */
  async function form(): Promise<number> {
    await sql`update rowmill.pending_keys set queued_at = now() where pipeline_id = ${id} and queued_at > now()`;
    const [row] = await sql`select rowmill.form_chunk(${id}, true) as id`;
    return row!.id;
  }
  /** Takes and reads a chunk; returns the rows that may be sent. */
  async function take(chunkId: number, worker = 'w'): Promise<Taken> {
    const [claim] = await sql`select status from rowmill.claim_chunk(${chunkId}, ${name}, ${worker})`;
    expect(claim!.status).toBe('accepted');
    const read = await sql<{ n: number; hash: string; input: HeldRow['input'] }[]>`
      select * from rowmill.read_chunk(${chunkId}, 0, 1000)`;
    const held = await sql`
      select n from rowmill.hold_rows(${chunkId}, ${worker}, ${sql.json(read.map(({ n, hash }) => ({ n, hash })))})`;
    const mine = new Set(held.map((row) => row.n));
    const rows = read.filter((row) => mine.has(row.n));
    return {
      chunkIds: [chunkId],
      rows: rows.map(({ n, hash, input }) => ({ c: chunkId, n, h: hash, input })),
    };
  }
  /** The titles that a chunk would ask for. */
  const asked = async (chunkId: number) => (await take(chunkId)).rows.map((row) => row.input.title).sort();
  async function send(taken: Taken): Promise<EndedBatch> {
    const batch = await startBatch(sql, taken);
    await endBatch(sql, batch.batchId);
    return batch;
  }
  async function finish({ batchId }: EndedBatch): Promise<void> {
    await finishHarvest(sql, batchId);
  }
  async function answerAll(batch: EndedBatch, text = 'an answer') {
    const counts = await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, text)) });
    await finish(batch);
    return counts;
  }
  const edit = (film: number, title: string) =>
    sql.unsafe(`update ${table} set title = $1 where id = $2`, [title, film]);
  const remembered = async () =>
    (await sql`select key from rowmill.answered_rows where pipeline_id = ${id} order by key`).map(
      (row) => row.key[0],
    );
  const outputs = async () =>
    (await sql.unsafe(`select summary from ${table} order by id`)).map((row) => row.summary);
  const failures = () => sql`select key, attempts, is_final from rowmill.failures where pipeline_id = ${id}`;
  /** A chunk that nobody reads, of a film that was edited. */
  async function leaveUnread(film = 99): Promise<number> {
    await insertFilms(sql, film, film, table);
    await edit(film, 'unread');
    return await form();
  }

  it('to a row that was inserted and edited before it was read is paid for once, although it is read twice', async () => {
    await insertFilms(sql, 1, 1, table);
    const first = await form();
    await edit(1, 'edited');
    const second = await form();
    const taken = await take(first);
    expect(taken.rows.map((row) => row.input.title)).toEqual(['edited']);
    expect(await answerAll(await send(taken))).toMatchObject({ enriched: 1 });
    expect(await remembered()).toEqual([1]);
    expect(await asked(second)).toEqual([]);
    expect(await sql`select rowmill.close_chunk(${second}, 'w') as closed`).toEqual([{ closed: true }]);
    expect(await outputs()).toEqual(['an answer']);
  });

  it('is paid for once, too, where the edit is only queued when the answer comes', async () => {
    await insertFilms(sql, 1, 1, table);
    const first = await form();
    await edit(1, 'edited');
    await answerAll(await send(await take(first)));
    expect(await asked(await form())).toEqual([]);
  });

  it('and any number of edits before the first reading are one', async () => {
    await insertFilms(sql, 1, 1, table);
    const chunks = [await form()];
    for (const title of ['b', 'c', 'd']) {
      await edit(1, title);
      chunks.push(await form());
    }
    await answerAll(await send(await take(chunks[0]!)));
    for (const chunk of chunks.slice(1)) expect(await asked(chunk)).toEqual([]);
  });

  it('is asked for anew after an edit that it does not know', async () => {
    await insertFilms(sql, 1, 1, table);
    const first = await form();
    await edit(1, 'b');
    const second = await form();
    await answerAll(await send(await take(first)));
    await edit(1, 'c');
    expect(await asked(second)).toEqual(['c']);
  });

  it('to A is asked for again where B was asked for in between', async () => {
    await insertFilms(sql, 1, 1, table);
    await leaveUnread();
    await edit(1, 'A');
    await answerAll(await send(await take(await form())), 'to A');
    expect(await remembered()).toEqual([1]);
    await edit(1, 'B');
    const b = await take(await form());
    expect(b.rows.map((row) => row.input.title)).toEqual(['B']);
    // Whether B is answered already makes no difference.
    await edit(1, 'A');
    const again = await take(await form());
    expect(again.rows.map((row) => row.input.title)).toEqual(['A']);
    await answerAll(await send(b), 'to B');
    await answerAll(await send(again), 'to A again');
    expect((await outputs())[0]).toBe('to A again');
  });

  it('to A is asked for again after an answer to B, too', async () => {
    await insertFilms(sql, 1, 1, table);
    await leaveUnread();
    for (const title of ['A', 'B', 'A', 'B']) {
      await edit(1, title);
      const taken = await take(await form());
      expect(taken.rows.map((row) => row.input.title)).toEqual([title]);
      await answerAll(await send(taken), `to ${title}`);
    }
    expect((await outputs())[0]).toBe('to B');
  });

  it('to A still holds where B came and went before anybody read it', async () => {
    await insertFilms(sql, 1, 1, table);
    const first = await form();
    await edit(1, 'A');
    const taken = await take(first);
    await edit(1, 'B');
    await edit(1, 'A');
    await answerAll(await send(taken), 'to A');
    expect(await asked(await form())).toEqual([]);
    expect(await outputs()).toEqual(['to A']);
  });

  it('to a plain import is not remembered, in however many chunks it comes', async () => {
    const chunks: number[] = [];
    for (let from = 1; from <= 21; from += 10) {
      await insertFilms(sql, from, from + 9, table);
      chunks.push(await form());
    }
    for (const chunk of chunks) {
      await answerAll(await send(await take(chunk)));
      expect(await remembered()).toEqual([]);
    }
    // Statements of more than a thousand rows are noted another way.
    await insertFilms(sql, 101, 2200, table);
    await sql.unsafe(`insert into ${table} (id, title) values (5000, 'alone')`);
    const entries = await sql`select may_repeat from rowmill.pending_keys where pipeline_id = ${id}`;
    expect(entries.length).toBeGreaterThan(1);
    expect(entries.filter((entry) => entry.may_repeat)).toEqual([]);
    expect(await sql`select from rowmill.chunks where pipeline_id = ${id} and may_repeat`).toHaveLength(0);
  });

  it('to an import is remembered while an edit or a backfill is queued, and only then', async () => {
    await insertFilms(sql, 1, 2, table);
    const first = await send(await take(await form()));
    await insertFilms(sql, 3, 4, table);
    const second = await send(await take(await form()));
    await answerAll(first);
    expect(await remembered()).toEqual([]);
    await edit(1, 'edited');
    await answerAll(second);
    expect(await remembered()).toEqual([3, 4]);
  });

  it('to an edit is remembered while an import is queued: its row may be in it', async () => {
    await insertFilms(sql, 1, 1, table);
    const [first] = [await form()];
    await edit(1, 'edited');
    const second = await form();
    await answerAll(await send(await take(second)));
    expect(await remembered()).toEqual([1]);
    expect(await asked(first)).toEqual([]);
  });

  it.each(['the edit', 'the retry'])(
    'to a row whose retry is queued beside an edit is paid for once, whichever is read first: %s',
    async (which) => {
      await insertFilms(sql, 1, 1, table);
      const batch = await send(await take(await form()));
      await apply(sql, batch.batchId, { failures: [failure(batch.rows[0]!)] });
      await finish(batch);
      const retry = await form();
      await edit(1, 'edited');
      const edited = await form();
      const [early, late] = which === 'the edit' ? [edited, retry] : [retry, edited];
      const taken = await take(early);
      expect(taken.rows.map((row) => row.input.title)).toEqual(['edited']);
      await answerAll(await send(taken));
      expect(await asked(late)).toEqual([]);
      expect(await failures()).toEqual([]);
    },
  );

  it('to a row whose retry waits for its time is remembered until then', async () => {
    await insertFilms(sql, 1, 1, table);
    const batch = await send(await take(await form()));
    await edit(1, 'edited');
    const edited = await form();
    await edit(1, 'film 1');
    await apply(sql, batch.batchId, { failures: [failure(batch.rows[0]!)] });
    await finish(batch);
    await answerAll(await send(await take(edited)));
    await tick(sql);
    expect(await remembered()).toEqual([1]);
    expect(await asked(await form())).toEqual([]);
  });

  describe('is forgotten by the tick when nothing unread is left that may repeat it, and not before', () => {
    let second: number;
    beforeEach(async () => {
      await sql`update rowmill.pipelines set flush_after = '1 day' where id = ${id}`;
      await insertFilms(sql, 1, 1, table);
      const first = await form();
      await edit(1, 'edited');
      second = await form();
      await answerAll(await send(await take(first)));
    });
    const expectKept = async (isKept: boolean) => {
      await tick(sql);
      expect(await remembered()).toEqual(isKept ? [1] : []);
    };

    it('a chunk that waits', async () => {
      await expectKept(true);
      await sql`select * from rowmill.claim_chunk(${second}, ${name}, 'w')`;
      await expectKept(true);
      await sql`select rowmill.close_chunk(${second}, 'w')`;
      await expectKept(false);
    });

    it('a chunk that is given back, and one whose lease ran out', async () => {
      await take(second);
      await sql`select rowmill.release_chunk(${second}, 'w')`;
      await expectKept(true);
      await take(second);
      await sql`update rowmill.chunks set lease_until = now() - interval '1 second' where id = ${second}`;
      await expectKept(true);
      expect(await asked(second)).toEqual([]);
    });

    it('keys that wait for a chunk', async () => {
      await sql`insert into rowmill.pending_keys (pipeline_id, keys, row_count, first_entry)
        select pipeline_id, keys, row_count, oldest_entry from rowmill.chunks where id = ${second}`;
      await sql`update rowmill.chunks set state = 'done', keys = null, ended_at = now() where id = ${second}`;
      await expectKept(true);
    });

    it('is forgotten at once where its row is asked for with another input', async () => {
      await edit(1, 'once more');
      expect(await asked(second)).toEqual(['once more']);
      expect(await remembered()).toEqual([]);
    });

    it('but not what came after the answer', async () => {
      await edit(1, 'once more');
      const later = await form();
      await sql`select * from rowmill.claim_chunk(${second}, ${name}, 'w')`;
      await sql`select rowmill.close_chunk(${second}, 'w')`;
      await expectKept(false);
      expect(await asked(later)).toEqual(['once more']);
    });
  });

  it('that comes while an intent is being written holds where that is given up and its chunk is read anew', async () => {
    await insertFilms(sql, 1, 2, table);
    const first = await form();
    await edit(1, 'edited');
    await edit(2, 'edited, too');
    const second = await form();
    const taken = await take(first);
    const batch = await send(taken);
    await edit(2, 'and again');
    const other = await take(second);
    // Film 1 is in flight; film 2 has another input.
    expect(other.rows.map((row) => row.input.title)).toEqual(['and again']);
    // The intent alone is left that may be read anew.
    await sql`delete from rowmill.pending_keys where pipeline_id = ${id}`;
    const intent = await begunBatch(sql, [second], { key: `intent of ${name}` });
    await apply(sql, batch.batchId, {
      answers: taken.rows.filter((row) => row.input.title === 'edited').map((row) => answer(row, 'x')),
    });
    await tick(sql);
    expect(await remembered()).toEqual([1]);
    await sql`select rowmill.abandon_batch(${intent}, 'w', 'p', false)`;
    await tick(sql);
    expect(await remembered()).toEqual([1]);
    expect(await asked(second)).toEqual(['and again']);
  });

  it('holds for rows that found no room as well: they keep their place in the queue', async () => {
    await insertFilms(sql, 1, 3, table);
    const first = await form();
    for (const film of [1, 2, 3]) await edit(film, `edited ${film}`);
    const second = await form();
    const [chunk] = await sql`select oldest_entry from rowmill.chunks where id = ${second}`;
    const taken = await take(first);
    const batch = await send(taken);
    const [place] = taken.rows.filter((row) => row.input.title === 'edited 1').map((row) => row.n);
    await edit(2, 'again');
    await take(second);
    // Film 1, in flight in the first, is among those that find no room.
    await begunBatch(sql, [second], { key: `full ${name}`, leftOver: [{ c: second, n: place! }] });
    const [entry] =
      await sql`select id, first_entry, may_repeat from rowmill.pending_keys where pipeline_id = ${id} and first_entry is not null`;
    expect(entry).toMatchObject({ first_entry: chunk!.oldest_entry, may_repeat: true });
    expect(entry!.id).toBeGreaterThan(chunk!.oldest_entry);
    await apply(sql, batch.batchId, { answers: taken.rows.map((row) => answer(row, 'x')) });
    await sql`update rowmill.chunks set state = 'done', keys = null, ended_at = now() where id = ${second}`;
    await sql`delete from rowmill.pending_keys where pipeline_id = ${id} and first_entry is null`;
    await tick(sql);
    expect(await remembered()).toContain(1);
    const third = await form();
    expect(await sql`select oldest_entry from rowmill.chunks where id = ${third}`).toEqual([
      { oldest_entry: chunk!.oldest_entry },
    ]);
    await tick(sql);
    expect(await asked(third)).toEqual([]);
  });

  it('holds for what a chunk had no room for: the remainder keeps its place, too', async () => {
    // Film 1 in an entry of its own, and 2 to 4 in the next; then each edit in its own.
    await insertFilms(sql, 1, 1, table);
    await insertFilms(sql, 2, 4, table);
    await sql.unsafe(`update ${table} set title = 'edited ' || id where id < 4`);
    await sql`update rowmill.pipelines set chunk_size = 2 where id = ${id}`;
    const chunks = [await form(), await form(), await form(), await form()];
    const places =
      await sql`select oldest_entry from rowmill.chunks where id = any (${sql.array(chunks, 20)}) order by id`;
    const [first, second, third] = places.map((chunk) => chunk.oldest_entry);
    expect(second).toBe(first);
    expect(third).toBeGreaterThan(first);
    const read: unknown[] = [];
    for (const chunk of chunks) {
      const taken = await take(chunk);
      read.push(...taken.rows.map((row) => row.input.title));
      if (taken.rows.length > 0) await answerAll(await send(taken));
    }
    expect(read.sort()).toEqual(['edited 1', 'edited 2', 'edited 3', 'film 4']);
  });

  it('to an input that is in flight is not asked for, as ever, and what is unknown is', async () => {
    await insertFilms(sql, 1, 3, table);
    const first = await form();
    await edit(1, 'edited');
    const second = await form();
    const taken = await take(first);
    expect(taken.rows).toHaveLength(3);
    expect(await asked(second)).toEqual([]);
  });

  it('to another pipeline is not remembered for this one', async () => {
    await insertFilms(sql, 1, 1, table);
    const other = await createPipeline(sql, { name: `${name}_score`, source: table, outputs: ['score'] });
    const first = await form();
    await edit(1, 'edited');
    const second = await form();
    await answerAll(await send(await take(first)));
    expect(await remembered()).toEqual([1]);
    expect(await sql`select from rowmill.answered_rows where pipeline_id = ${other}`).toHaveLength(0);
    expect(await asked(second)).toEqual([]);
    await emptyQueue(sql, other);
  });
});
