import type postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  beginBatch,
  createFilms,
  createPipeline,
  endBatch,
  finishHarvest,
  insertFilms,
  startBatch,
  takeChunks,
} from '../support/sql-factories.ts';

describe('a step that something outside follows', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let chunkIds: number[];
  let batchId: number;
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
    await insertFilms(sql, films, films);
    await sql`select rowmill.flush('films')`;
    const taken = await takeChunks(sql, 'films');
    chunkIds = taken.chunkIds;
    batchId = 0;
  });

  async function makeEnded(): Promise<void> {
    ({ batchId } = await startBatch(sql, { chunkIds, rows: [] }));
    await endBatch(sql, batchId);
  }
  const setting = async (tx: postgres.ISql) => {
    const [row] = await tx`select current_setting('synchronous_commit') as value`;
    return row!.value;
  };
  /** How a transaction commits that such a session begins and that makes this call. */
  const commits = (session: string, call: (tx: postgres.ISql) => Promise<unknown>) =>
    sql.begin(async (tx) => {
      await tx`select set_config('synchronous_commit', ${session}, true)`;
      await call(tx);
      return await setting(tx);
    });
  const begin = async (tx: postgres.ISql) => {
    expect((await beginBatch(tx, chunkIds, { key: `key ${films}`, version: 1 })).status).toBe('begun');
  };
  const end = async (tx: postgres.ISql) => {
    // Of a class that speaks ill of no prompt: three batches in a row that fail pause a pipeline.
    expect(await finishHarvest(tx, batchId, { class: 'batch_expired' })).toBe(1);
  };

  describe.each([
    ['off', 'on'],
    ['local', 'local'],
    ['on', 'on'],
    ['remote_write', 'remote_write'],
    ['remote_apply', 'remote_apply'],
  ])('where commits are %s, is committed as %s', (session, expected) => {
    it('the intent of a batch', async () => {
      expect(await commits(session, begin)).toBe(expected);
    });

    it('the end of a harvest', async () => {
      await makeEnded();
      expect(await commits(session, end)).toBe(expected);
    });
  });

  it('leaves the session as it was', async () => {
    const one = await sql.reserve();
    try {
      await one`set synchronous_commit = off`;
      await begin(one);
      expect(await setting(one)).toBe('off');
    } finally {
      await one`reset synchronous_commit`;
      one.release();
    }
  });

  it('is one for the worker\u2019s role as well', async () => {
    const committed = await sql.begin(async (tx) => {
      await tx`set local role rowmill_worker`;
      await tx`set local synchronous_commit = off`;
      await begin(tx);
      return await setting(tx);
    });
    expect(committed).toBe('on');
  });

  it('costs nothing where nothing is written', async () => {
    const committed = await commits('off', async (tx) => {
      expect(await beginBatch(tx, chunkIds, { worker: 'somebody else' })).toEqual({ status: 'lost' });
    });
    expect(committed).toBe('off');
  });
});
