import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../src/store/migrate.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
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

describe('an owner that is no superuser', () => {
  let database: TestDatabase;
  let owner: string;
  let sql: postgres.Sql;
  beforeAll(async () => {
    database = await createDatabase({ migrated: false });
    owner = `owner_${database.url.slice(-12)}`;
    const [row] = await database.sql`select current_database() as name`;
    await database.sql.unsafe(`
      create role ${owner} login password '${owner}'; grant create on database ${row!.name} to ${owner}; grant all on schema public to ${owner}`);
    const url = new URL(database.url);
    url.username = owner;
    url.password = owner;
    await migrate({ url: url.href });
    sql = postgres(url.href, {
      onnotice: () => {},
      types: { bigint: { to: 20, from: [20], serialize: String, parse: Number } },
    }) as unknown as postgres.Sql;
    await createFilms(sql);
  });
  afterAll(async () => {
    await sql.end();
    await database.sql.unsafe(`drop owned by ${owner} cascade; drop role ${owner}`);
    await database.drop();
  });

  it('migrates, and takes a row from its insert to its answer', async () => {
    const id = await createPipeline(sql, { chunk_size: 10 });
    await insertFilms(sql, 1, 12, 'public.films');
    await sql`alter table public.films rename column id to film_id`;
    await tick(sql);
    expect(await queuedKeys(sql, id)).toHaveLength(12);
    const batch = await endedBatch(sql, 'films');
    expect(
      await apply(sql, batch.batchId, { answers: batch.rows.map((one) => answer(one, 'x')) }),
    ).toMatchObject({
      enriched: 12,
    });
    expect(await problemOf(sql, 'films')).toBeNull();
    await sql`alter table public.films rename column film_id to id`;
    await tick(sql);
  });

  it('loses the right to queue, and every insert goes through all the same', async () => {
    await database.sql.unsafe(`revoke insert on rowmill.pending_keys from ${owner}`);
    await insertFilms(sql, 101, 103);
    await sql`update public.films set title = 'edited' where id = 1`;
    expect(await sql`select from public.films where id > 100`).toHaveLength(3);
    expect(await problemOf(sql, 'films')).toContain('permission denied for table pending_keys');
    await database.sql.unsafe(`grant insert on rowmill.pending_keys to ${owner}`);
    await tick(sql);
    const [pipeline] = await sql`select id from rowmill.pipelines`;
    // The keys were kept with the errors: the edit's, too, whose row has an answer.
    expect((await queuedKeys(sql, pipeline!.id)).map(([key]) => key)).toEqual([101, 102, 103, 1]);
    expect(await problemOf(sql, 'films')).toBeNull();
  });
});
