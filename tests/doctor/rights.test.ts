import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DoctorWorld, startDoctorWorld } from './doctor-world.ts';

describe('doctor() finds out who may do too much or too little:', () => {
  let world: DoctorWorld;
  beforeAll(async () => {
    world = await startDoctorWorld();
    await world.sql.unsafe(`
      do $$ begin create role anon nologin; exception when duplicate_object or unique_violation then null; end $$`);
  });
  afterAll(() => world.stop());

  it.each([
    ['a table to anon', 'grant select on rowmill.pipelines to anon', /anon: select on rowmill.pipelines/],
    [
      'a column to anon',
      'grant update (name) on rowmill.pipelines to anon',
      /anon: update on rowmill.pipelines/,
    ],
    [
      'a view to everybody',
      'grant select on rowmill.pipeline_status to public',
      /public: select on rowmill.pipeline_status/,
    ],
    [
      'a function to everybody',
      'grant execute on function rowmill.tick(integer) to public',
      /public: execute on rowmill.tick\(integer\)/,
    ],
    ['the schema to anon', 'grant usage on schema rowmill to anon', /anon: usage on rowmill/],
    [
      'a sequence to everybody',
      'grant usage on sequence rowmill.chunks_id_seq to public',
      /public: usage on rowmill.chunks_id_seq/,
    ],
  ])('somebody granted %s', async (_what, grant, found) => {
    expect(await world.lookAt('grants')).toMatchObject({ verdict: 'ok' });
    await world.sql.unsafe(grant);
    const row = await world.lookAt('grants');
    expect(row).toMatchObject({ verdict: 'fault', found: expect.stringMatching(found) });
    await world.sql.unsafe(row.remedy!);
    expect(await world.lookAt('grants')).toMatchObject({ verdict: 'ok' });
  });

  it('a function of ours was made anew without revoking it from everybody', async () => {
    await world.sql.unsafe(`create function rowmill.fresh() returns integer language sql as 'select 1'`);
    const row = await world.lookAt('grants');
    expect(row.found).toContain('public: execute on rowmill.fresh()');
    await world.sql.unsafe(row.remedy!);
    expect(await world.lookAt('grants')).toMatchObject({ verdict: 'ok' });
    await world.sql`drop function rowmill.fresh()`;
  });

  it.each([
    [
      'may not call a worker’s function',
      'revoke execute on function rowmill.claim_work(text, integer) from rowmill_worker',
      /rowmill_worker may not call rowmill.claim_work/,
    ],
    [
      'may not use the schema',
      'revoke usage on schema rowmill from rowmill_worker',
      /may not use schema rowmill/,
    ],
    [
      'may call more than a worker needs',
      'grant execute on function rowmill.drop_pipeline(text) to rowmill_worker',
      /more than a worker needs: rowmill.drop_pipeline/,
    ],
  ])('rowmill_worker %s', async (_what, change, found) => {
    expect(await world.lookAt('worker role')).toMatchObject({ verdict: 'ok' });
    await world.sql.unsafe(change);
    const row = await world.lookAt('worker role');
    expect(row).toMatchObject({ verdict: 'fault', found: expect.stringMatching(found) });
    await world.sql.unsafe(row.remedy!);
    expect(await world.lookAt('worker role')).toMatchObject({ verdict: 'ok' });
  });

  it('a worker’s role may ask, and a stranger may not', async () => {
    await world.sql.begin(async (tx) => {
      await tx`set local role rowmill_worker`;
      expect(await tx`select * from rowmill.doctor()`).toHaveLength(20);
    });
    const asked = world.sql.begin(async (tx) => {
      await tx`set local role anon`;
      await tx`select * from rowmill.doctor()`;
    });
    await expect(asked).rejects.toMatchObject({ code: '42501' });
  });
});
