import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  begunBatch,
  createFilms,
  createPipeline,
  insertFilms,
  takeChunks,
} from '../support/sql-factories.ts';

describe('a batch of the provider\u2019s', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let id: number;
  let films = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await createFilms(sql);
    await createPipeline(sql);
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    films += 1;
    await sql`truncate rowmill.chunks, rowmill.chunk_rows, rowmill.pending_keys, rowmill.batch_processing_details`;
    await insertFilms(sql, films, films);
    await sql`select rowmill.flush('films')`;
    const { chunkIds } = await takeChunks(sql, 'films');
    id = await begunBatch(sql, chunkIds, { key: `key ${films}` });
  });

  const start = async (providerId = `batch ${films}`, status = 'validating') => {
    const [row] =
      await sql`select rowmill.start_batch(${id}, ${providerId}, ${status}, 'file of the batch') as says`;
    return row!.says;
  };
  const batch = async () => {
    const [row] = await sql`select * from rowmill.batch_processing_details where id = ${id}`;
    return row!;
  };
  const giveUp = {
    abandoned: () => sql`select rowmill.abandon_batch(${id}, 'w', 'given up', true)`,
    rejected: () =>
      sql`select rowmill.reject_batch(${id}, 'w', 'batch_rejected', null, 'no', true, true, true)`,
  };
  const running = {
    ...{ state: 'running', owner: null, lease_until: null, done_at: null, sweep_at: null },
    ...{ submitted_at: expect.any(Date), poll_at: expect.any(Date) },
  };

  it('is started where its intent waits for it, whoever holds that', async () => {
    await sql`update rowmill.batch_processing_details set owner = 'somebody/9' where id = ${id}`;
    expect(await start()).toBe('started');
    expect(await batch()).toMatchObject({
      ...running,
      ...{
        provider_batch_id: `batch ${films}`,
        provider_status: 'validating',
        cancel_asked: false,
        problem: null,
      },
    });
  });

  it('has its file noted, unless it was before', async () => {
    await start();
    expect(await batch()).toMatchObject({ input_file_id: 'file of the batch' });
  });

  it('keeps the file that its upload noted', async () => {
    await sql`select rowmill.note_input_file(${id}, 'w', 'file of the upload')`;
    await start();
    expect(await batch()).toMatchObject({ input_file_id: 'file of the upload' });
  });

  it('is known the second time, and nothing changes, whatever became of it', async () => {
    await start();
    for (const change of [
      `provider_status = 'in_progress'`,
      `state = 'ended', ended_at = now()`,
      `state = 'harvested', settled_at = now()`,
      `state = 'done', done_at = now()`,
    ]) {
      await sql.unsafe(`update rowmill.batch_processing_details set ${change} where id = ${id}`);
      const before = await batch();
      expect(await start()).toBe('known');
      expect(await batch()).toEqual(before);
    }
  });

  it.each(['running', 'ended', 'harvested', 'done'])(
    'is foreign where the intent has another, which is %s: nothing is recorded',
    async (state) => {
      await start();
      if (state !== 'running') {
        await sql`update rowmill.batch_processing_details
          set state = ${state}, ended_at = now(), done_at = ${state === 'done' ? sql`now()` : null},
            settled_at = ${state === 'ended' ? null : sql`now()`}
          where id = ${id}`;
      }
      const before = await batch();
      expect(await start('batch of a second request')).toBe('foreign');
      expect(await batch()).toEqual(before);
    },
  );

  describe('that another intent has', () => {
    let other: number;
    beforeEach(async () => {
      await start();
      films += 1;
      await insertFilms(sql, films, films);
      await sql`select rowmill.flush('films')`;
      const { chunkIds } = await takeChunks(sql, 'films');
      other = id;
      id = await begunBatch(sql, chunkIds, { key: `key ${films}` });
    });

    it.each(['preparing', 'running', 'abandoned'] as const)(
      'is taken, whatever the intent is (%s), and nothing is recorded',
      async (state) => {
        if (state === 'running') await start('a batch of its own');
        if (state === 'abandoned') await giveUp.abandoned();
        const before = await sql`select * from rowmill.batch_processing_details order by id`;
        const taken = before.find((row) => Number(row.id) === Number(other))!.provider_batch_id;
        expect(await start(taken)).toBe('taken');
        expect(await sql`select * from rowmill.batch_processing_details order by id`).toEqual(before);
      },
    );

    it('is taken, too, where the other recorded it at the same time', async () => {
      await sql`delete from rowmill.batch_processing_details where id = ${other}`;
      const [{ id: third }] = (await sql`
        insert into rowmill.batch_processing_details (key, pipeline_id, pipeline_version, model, endpoint, requests, bytes)
        select 'third', pipeline_id, pipeline_version, model, endpoint, 1, 1
        from rowmill.batch_processing_details where id = ${id} returning id`) as unknown as [{ id: number }];
      let says: Promise<unknown> | undefined;
      await sql.begin(async (tx) => {
        await tx`select rowmill.start_batch(${third}, 'one for two', 'validating', 'file')`;
        says = start('one for two');
        const waiting = () => sql`
          select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
        await expect.poll(async () => (await waiting()).length).toBe(1);
      });
      expect(await says).toBe('taken');
    });
  });

  it.each(['abandoned', 'rejected'] as const)(
    'is a stray where its intent was %s: it runs, is to be cancelled, and is searched for no more',
    async (state) => {
      await giveUp[state]();
      const rows = await sql`select * from rowmill.chunks order by id`;
      expect(await batch()).toMatchObject({ state });
      expect(await start()).toBe('stray');
      expect(await batch()).toMatchObject({
        ...running,
        ...{ cancel_asked: true, problem: expect.stringContaining('given up') },
      });
      expect(await sql`select * from rowmill.chunks order by id`).toEqual(rows);
      expect(await sql`select from rowmill.claim_sweeps('w', 10) as s where s.batch_id = ${id}`).toEqual([]);
      expect(await start()).toBe('known');
      expect((await batch()).cancel_asked).toBe(true);
    },
  );

  it('is started, and to be cancelled, where its pipeline was dropped meanwhile', async () => {
    await sql`select rowmill.drop_pipeline('films')`;
    expect(await start()).toBe('started');
    expect(await batch()).toMatchObject({ state: 'running', cancel_asked: true });
    await createPipeline(sql);
  });

  it('that a search finds while it runs ends the search, and the search nothing of the batch', async () => {
    await giveUp.abandoned();
    await sql`select * from rowmill.claim_sweeps('sweeper', 10)`;
    await start();
    const before = await batch();
    const [row] = await sql`select rowmill.finish_sweep(${id}, 'sweeper', 0) as done`;
    expect(row!.done).toBe(false);
    expect(await batch()).toEqual(before);
  });

  it.each([true, false])(
    'of an intent that was given up is searched for only where it may exist: %s',
    async (may) => {
      await sql`select rowmill.abandon_batch(${id}, 'w', 'given up', ${may})`;
      const found =
        await sql`select batch_id, key from rowmill.claim_sweeps('sweeper', 10) where batch_id = ${id}`;
      expect(found).toEqual(may ? [{ batch_id: id, key: `key ${films}` }] : []);
      // Nobody else searches meanwhile, until the lease runs out.
      expect(await sql`select from rowmill.claim_sweeps('other', 10)`).toHaveLength(0);
      await sql`update rowmill.batch_processing_details set lease_until = lease_until - interval '3 minutes' where id = ${id}`;
      expect(await sql`select from rowmill.claim_sweeps('other', 10)`).toHaveLength(may ? 1 : 0);
    },
  );
});
