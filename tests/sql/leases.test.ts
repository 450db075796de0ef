import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { begunBatch, createFilms, createPipeline, insertFilms, refusal } from '../support/sql-factories.ts';

describe('a lease, in SQL', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
    await createFilms(sql);
    await createPipeline(sql, { chunk_size: 1 });
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    await sql`truncate films, rowmill.pending_keys, rowmill.chunks, rowmill.chunk_rows, rowmill.batch_processing_details, rowmill.workers`;
    await sql`update rowmill.settings set lease = default, adopt_after = default`;
    await insertFilms(sql, 1, 5);
    await sql`select rowmill.flush('films')`;
  });

  const claim = async (lease: string, chunks = 1) => {
    const rows = await sql`select chunk_id as id from rowmill.claim_work(${lease}, ${chunks})`;
    return rows.map((row) => row.id);
  };
  const renew = async (...leases: string[]) => {
    const [row] = await sql`select * from rowmill.renew_leases('w', 'test', ${leases}::text[])`;
    return row;
  };
  const pass = (time: string) =>
    sql`update rowmill.chunks set lease_until = lease_until - ${time}::text::interval where state = 'accepted'`;
  const secondsLeft = async (id: number) => {
    const [row] =
      await sql`select extract(epoch from lease_until - now())::float8 as seconds from rowmill.chunks where id = ${id}`;
    return row!.seconds;
  };

  it('is renewed where it is named, and only there', async () => {
    const [mine] = await claim('w/1');
    const [other] = await claim('w/2');
    const [prefix] = await claim('w/11');
    const [worker] = await claim('w');
    await pass('1 minute');
    expect(await renew('w/1', 'w/99')).toEqual({ lease_ms: 120_000, renewed: 1 });
    expect(await secondsLeft(mine)).toBeGreaterThan(100);
    for (const id of [other, prefix, worker]) expect(await secondsLeft(id)).toBeLessThan(61);
  });

  it('is not renewed once it ran out, although nobody has taken over', async () => {
    const [id] = await claim('w/1');
    await pass('3 minutes');
    const [chunk] = await claim('w/2');
    await begunBatch(sql, [chunk], { worker: 'w/2' });
    await sql`update rowmill.batch_processing_details set lease_until = now() - interval '1 second'`;
    expect(await renew('w/1', 'w/2')).toMatchObject({ renewed: 0 });
    expect(await secondsLeft(id)).toBeLessThan(0);
    expect(await sql`select from rowmill.batch_processing_details where lease_until < now()`).toHaveLength(1);
  });

  it('covers all that was claimed under it', async () => {
    await claim('w/1', 3);
    const [chunk] = await claim('w/2');
    await begunBatch(sql, [chunk], { worker: 'w/2' });
    expect(await renew('w/1', 'w/2')).toMatchObject({ renewed: 4 });
  });

  it('of none at all is a sign of life', async () => {
    expect(await renew()).toEqual({ lease_ms: 120_000, renewed: 0 });
    expect(await sql`select id, version from rowmill.workers`).toEqual([{ id: 'w', version: 'test' }]);
    await sql`update rowmill.workers set seen_at = now() - interval '2 days', id = 'long gone'`;
    await renew();
    expect(await sql`select id from rowmill.workers`).toEqual([{ id: 'w' }]);
  });

  it('says how long it is, to the millisecond, as it is set now', async () => {
    await sql`update rowmill.settings set lease = '1.5 seconds'`;
    expect(await renew()).toMatchObject({ lease_ms: 1500 });
    await sql`update rowmill.settings set adopt_after = '3 days', lease = '2 days'`;
    expect(await renew()).toMatchObject({ lease_ms: 172_800_000 });
  });

  it('is shorter than settings.adopt_after: an intent that is given up sooner could be created twice', async () => {
    for (const change of [
      `lease = '5 minutes'`,
      `adopt_after = '2 minutes'`,
      `lease = '1 hour', adopt_after = '59 minutes'`,
    ]) {
      expect(await refusal(sql.unsafe(`update rowmill.settings set ${change}`)), change).toMatchObject({
        code: '23514',
        constraint_name: 'settings_adopt_after_outlasts_lease',
      });
    }
    await sql`update rowmill.settings set lease = '10 minutes', adopt_after = '11 minutes'`;
  });

  it.each([
    ['a quarter of a minute', '2 minutes', 15],
    ['a lease, where that is shorter', '2 seconds', 2],
  ])('that is given back keeps a batch from others for %s', async (_what, lease, seconds) => {
    await sql`update rowmill.settings set lease = ${lease}::text::interval`;
    const [chunk] = await claim('w/1');
    const batch = await begunBatch(sql, [chunk], { worker: 'w/1' });
    await sql`select rowmill.let_go_of_batch(${batch}, 'w/1', 'a problem')`;
    const [after] = await sql`
      select owner, problem, extract(epoch from lease_until - now())::float8 as seconds from rowmill.batch_processing_details`;
    expect(after).toMatchObject({ owner: null, problem: 'a problem' });
    expect(after!.seconds).toBeLessThanOrEqual(seconds);
    expect(after!.seconds).toBeGreaterThan(seconds - 2);
  });
});
