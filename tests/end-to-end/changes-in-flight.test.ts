import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createFilmsPipeline } from '../support/films.ts';
import { settled, startWorld, type World, waitFor } from '../support/service.ts';

describe('rows that change while their batch runs', () => {
  let world: World;
  // Long enough at the provider for a test to change something meanwhile.
  beforeAll(async () => {
    world = await startWorld({ simulator: { delays: { validatingMs: 1500 } } });
  });
  afterAll(() => world.stop());

  let table = '';
  let pipeline = '';
  let number = 0;
  beforeEach(async () => {
    number += 1;
    pipeline = `films_${number}`;
    table = `public.films_${number}`;
    await createFilmsPipeline(world.sql, { table, name: pipeline, flushAfter: '0 seconds' });
  });

  const insertFilms = async (count: number) => {
    await world.sql.unsafe(
      `insert into ${table} (title, description) select 'Film ' || n, 'Number ' || n from generate_series(1, ${count}) as n`,
    );
  };
  const running = () =>
    waitFor('the batch runs', async () => {
      const rows =
        await world.sql`select from rowmill.batch_status where pipeline = ${pipeline} and state = 'running'`;
      return rows.length > 0;
    });
  const counts = async () => {
    const [status] = await world.sql`
      select enriched, stale, gone, failed, problem from rowmill.pipeline_status where name = ${pipeline}`;
    return { ...status };
  };

  it('a rolled-back insert enriches nothing and sends nothing', async () => {
    const before = world.simulator.ledger.executed;
    await world.sql
      .begin(async (tx) => {
        await tx.unsafe(
          `insert into ${table} (title) select 'Film ' || n from generate_series(1, 2500) as n`,
        );
        throw new Error('changed my mind');
      })
      .catch(() => {});
    await insertFilms(1);
    await settled(world.sql, pipeline);
    expect(await counts()).toMatchObject({ enriched: 1, failed: 0 });
    expect(world.simulator.ledger.executed).toBe(before + 1);
  });

  it('the answer to an edited row is refused and the new one arrives', async () => {
    await insertFilms(10);
    await running();
    await world.sql.unsafe(`update ${table} set title = 'Another film' where id = 3`);
    await settled(world.sql, pipeline);
    expect(await counts()).toMatchObject({ enriched: 10, stale: 1, gone: 0, failed: 0, problem: null });
    const [row] = await world.sql.unsafe(`select summary from ${table} where id = 3`);
    expect(row!.summary).toContain('Another film:');
  });

  it('an edit that is taken back takes the answer that was under way, and pays once', async () => {
    const before = world.simulator.ledger.executed;
    await insertFilms(1);
    await running();
    await world.sql.unsafe(`update ${table} set title = 'Another film'`);
    await world.sql.unsafe(`update ${table} set title = 'Film 1'`);
    await settled(world.sql, pipeline);
    expect(await counts()).toMatchObject({ enriched: 1, stale: 0 });
    expect(world.simulator.ledger.executed).toBe(before + 1);
  });

  it('a deleted row breaks nothing', async () => {
    await insertFilms(10);
    await running();
    await world.sql.unsafe(`delete from ${table} where id in (4, 5)`);
    await settled(world.sql, pipeline);
    expect(await counts()).toMatchObject({ enriched: 8, gone: 2, failed: 0, problem: null });
  });

  it('a truncated table breaks nothing, and rows with the same keys get answers of their own', async () => {
    await insertFilms(10);
    await running();
    await world.sql.unsafe(`truncate ${table} restart identity`);
    await world.sql.unsafe(
      `insert into ${table} (title, description) select 'Sequel ' || n, 'Number ' || n from generate_series(1, 10) as n`,
    );
    await settled(world.sql, pipeline);
    const rows = await world.sql.unsafe(
      `select from ${table} where summary like title || ':%' and title like 'Sequel%'`,
    );
    expect(rows).toHaveLength(10);
    expect(await counts()).toMatchObject({ stale: 10, failed: 0, problem: null });
  });

  it('a renamed table and renamed columns break nothing', async () => {
    await insertFilms(5);
    await running();
    await world.sql.unsafe(`
      alter table ${table} rename column id to "Key";
      alter table ${table} rename column title to "The Title";
      alter table ${table} rename column summary to "Sum mary";
      alter table ${table} rename to "Renamed ${number}"`);
    await world.sql.unsafe(
      `insert into "Renamed ${number}" ("The Title", description) values ('Late film', 'x')`,
    );
    await world.sql.unsafe(`update "Renamed ${number}" set "The Title" = 'Edited film' where "Key" = 2`);
    await settled(world.sql, pipeline);
    const rows = await world.sql.unsafe(
      `select from "Renamed ${number}" where "Sum mary" like "The Title" || ':%'`,
    );
    expect(rows).toHaveLength(6);
    expect(await counts()).toMatchObject({ stale: 1, problem: null });
  });

  it('a dropped output column stops its pipeline alone, and pipeline_status says so', async () => {
    await createFilmsPipeline(world.sql, {
      table: `${table}_other`,
      name: `${pipeline}_other`,
      flushAfter: '0 seconds',
    });
    await insertFilms(3);
    await running();
    await world.sql.unsafe(`alter table ${table} drop column summary`);
    await world.sql.unsafe(`insert into ${table}_other (title, description) values ('Film 1', 'x')`);
    await settled(world.sql, `${pipeline}_other`);
    const [other] = await world.sql.unsafe(`select summary from ${table}_other`);
    expect(other!.summary).toContain('Film 1:');
    expect(await counts()).toMatchObject({
      enriched: 0,
      problem: expect.stringContaining('output column summary'),
    });
    await world.sql.unsafe(`insert into ${table} (title) values ('still possible')`);
  });

  it('a dropped table ends its work, and pipeline_status says so', async () => {
    await insertFilms(3);
    await running();
    await world.sql.unsafe(`drop table ${table}`);
    await settled(world.sql, pipeline);
    expect(await counts()).toMatchObject({ gone: 3, problem: expect.stringContaining('was dropped') });
  });

  it('a dropped pipeline is cancelled at the provider and leaves no file there', async () => {
    await insertFilms(3);
    await running();
    await world.sql`select rowmill.drop_pipeline(${pipeline})`;
    await waitFor('the batch is over', async () => {
      const open =
        await world.sql`select from rowmill.batch_processing_details where state <> 'done' and done_at is null and pipeline_id in (select id from rowmill.pipelines where name = ${pipeline})`;
      return open.length === 0;
    });
    const [batch] =
      await world.sql`select provider_status from rowmill.batch_status where pipeline = ${pipeline}`;
    expect(batch!.provider_status).toBe('cancelled');
    const rows = await world.sql.unsafe(`select from ${table} where summary is null`);
    expect(rows).toHaveLength(3);
  });
});
