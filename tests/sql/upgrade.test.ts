import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate, migrationsDirectory } from '../../src/store/migrate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  alterPipeline,
  answer,
  apply,
  createFilms,
  createPipeline,
  endedBatch,
  insertFilms,
  problemOf,
  queuedKeys,
  tick,
} from '../support/sql-factories.ts';

// The last migration before leases had names.
const lastOfOld = '20261121001300';

describe('a database of an older worker, with work in it', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let directory: string;
  let id: number;
  beforeAll(async () => {
    database = await createDatabase({ migrated: false });
    sql = database.sql;
    directory = await mkdtemp(path.join(tmpdir(), 'rowmill-old-'));
    for (const file of await readdir(migrationsDirectory)) {
      if (file.slice(0, lastOfOld.length) > lastOfOld) continue;
      await copyFile(path.join(migrationsDirectory, file), path.join(directory, file));
    }
    await migrate({ url: database.url, directory });
    await createFilms(sql);
    id = await createPipeline(sql, { chunk_size: 10 });
    await createFilms(sql, 'public.others');
    await createPipeline(sql, {
      ...{ name: 'others', source: 'public.others' },
      output_schema: { type: 'object', properties: { summary: { type: 'string', maxLength: 9 } } },
    });
    await sql`update rowmill.settings set lease = '10 minutes', adopt_after = '5 minutes'`;
    await insertFilms(sql, 1, 10);
    const [chunk] = await sql`select id from rowmill.chunks`;
    await sql`select rowmill.claim_chunk(${chunk!.id}, 'films', 'an old worker')`;
    await insertFilms(sql, 11, 13);
  });
  afterAll(async () => {
    await database.drop();
    await rm(directory, { recursive: true, force: true });
  });

  it('is migrated, and its settings with it', async () => {
    const { applied } = await migrate({ url: database.url });
    expect(applied.length).toBeGreaterThan(5);
    expect(applied.every((version) => version > lastOfOld)).toBe(true);
    const [settings] = await sql`select adopt_after = lease * 2.5 as is_longer from rowmill.settings`;
    expect(settings!.is_longer).toBe(true);
  });

  it('queues on with the triggers that it has until the tick makes them anew', async () => {
    await insertFilms(sql, 14, 14);
    await sql`update films set title = 'edited' where id = 11`;
    expect(await problemOf(sql, 'films')).toBeNull();
    // Nobody knows which of these may have been asked for before.
    expect(await sql`select distinct may_repeat from rowmill.pending_keys`).toEqual([{ may_repeat: true }]);
    await tick(sql);
    await insertFilms(sql, 15, 15);
    const entries = await sql`select may_repeat from rowmill.pending_keys order by id desc limit 1`;
    expect(entries).toEqual([{ may_repeat: false }]);
    expect(await problemOf(sql, 'films')).toBeNull();
  });

  it('waits for what the old worker held, and sends all of it once', async () => {
    await sql`update rowmill.chunks set lease_until = now() - interval '1 second' where state = 'accepted'`;
    expect(await tick(sql)).toMatchObject({ released: 1 });
    expect(await queuedKeys(sql, id)).toHaveLength(16);
    const batch = await endedBatch(sql, 'films');
    expect(new Set(batch.rows.map((row) => row.input.title)).size).toBe(15);
    expect(
      await apply(sql, batch.batchId, { answers: batch.rows.map((row) => answer(row, 'x')) }),
    ).toMatchObject({ enriched: 15 });
  });

  it('alters what the old one declared: a schema that was derived is derived again, one that was given stays', async () => {
    expect(await alterPipeline(sql, 'films', { outputs: ['summary', 'score'] })).toBe(2);
    expect(await alterPipeline(sql, 'others', { model: 'x' })).toBe(2);
    const schemas = await sql`
      select response_schema::text as text, target = source as same from rowmill.pipelines order by id`;
    expect(schemas.map((row) => row.same)).toEqual([true, true]);
    expect(schemas[0]!.text).toContain('"score"');
    expect(schemas[1]!.text).toContain('"maxLength":9');
  });
});
