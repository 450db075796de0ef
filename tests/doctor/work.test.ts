import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  begunBatch,
  createFilms,
  createPipeline,
  emptyQueue,
  insertFilms,
  startBatch,
  takeChunks,
} from '../support/sql-factories.ts';
import { type DoctorWorld, startDoctorWorld } from './doctor-world.ts';

describe('doctor() finds out what stands still:', () => {
  let world: DoctorWorld;
  let sql: DoctorWorld['sql'];
  let films: number;
  beforeAll(async () => {
    world = await startDoctorWorld();
    sql = world.sql;
    await sql`select rowmill.set_endpoint(null)`;
    [{ id: films }] = (await sql`select id from rowmill.pipelines`) as unknown as [{ id: number }];
  });
  afterAll(() => world.stop());
  afterEach(async () => {
    await sql`truncate films, rowmill.chunk_rows, rowmill.pending_keys, rowmill.trigger_errors`;
    await emptyQueue(sql, films);
    await sql`delete from rowmill.chunks`;
    await sql`delete from rowmill.batch_processing_details`;
    await sql`select rowmill.resume_pipeline('films')`;
  });
  const ok = (check: string) => expect(world.lookAt(check)).resolves.toMatchObject({ verdict: 'ok' });
  const batches = (change: string) => sql.unsafe(`update rowmill.batch_processing_details set ${change}`);

  describe('triggers', () => {
    it('one is disabled', async () => {
      await ok('triggers');
      await sql.unsafe(`alter table films disable trigger rowmill_${films}_insert`);
      const row = await world.lookAt('triggers');
      expect(row).toMatchObject({
        verdict: 'fault',
        found: expect.stringContaining(`rowmill_${films}_insert on public.films is disabled`),
        remedy: `alter table public.films enable trigger rowmill_${films}_insert;`,
      });
      await sql.unsafe(row.remedy!);
      await ok('triggers');
    });

    it('one is dropped, and the rows that came meanwhile are queued again by the remedy', async () => {
      await sql.unsafe(`drop trigger rowmill_${films}_insert on films`);
      await insertFilms(sql, 1, 2);
      const row = await world.lookAt('triggers');
      expect(row).toMatchObject({
        verdict: 'fault',
        found: expect.stringContaining(`"films" lacks rowmill_${films}_insert on public.films`),
      });
      await sql.unsafe(row.remedy!);
      await sql`select rowmill.tick()`;
      expect(await sql`select from rowmill.pending_keys`).toHaveLength(1);
      await ok('triggers');
    });

    it('a whole function is gone with its trigger', async () => {
      await sql.unsafe(`drop function rowmill.enqueue_edited_${films}() cascade`);
      const row = await world.lookAt('triggers');
      expect(row.found).toContain(`lacks rowmill_${films}_update`);
      await sql.unsafe(row.remedy!);
      await ok('triggers');
    });

    it('a partition has none', async () => {
      await sql.unsafe(`
        create table parts (id bigint, title text, summary text, primary key (id)) partition by range (id);
        create table parts_1 partition of parts for values from (0) to (10)`);
      await createPipeline(sql, { name: 'parts', source: 'public.parts' });
      await ok('triggers');
      await sql.unsafe('create table parts_2 partition of parts for values from (10) to (20)');
      const row = await world.lookAt('triggers');
      expect(row.found).toMatch(/"parts" lacks rowmill_\d+_insert on public\.parts_2/);
      await sql.unsafe(row.remedy!);
      await ok('triggers');
      await sql`select rowmill.drop_pipeline('parts')`;
    });

    it('keys were lost in one, and a chunk could not be formed', async () => {
      await sql`select rowmill.note_trigger_error(${films}, 'chunk', '57014', 'no chunk was formed')`;
      expect(await world.lookAt('triggers')).toMatchObject({ verdict: 'note' });
      await sql`select rowmill.note_trigger_error(${films}, 'insert', '57014', 'the disk was full')`;
      const row = await world.lookAt('triggers');
      expect(row).toMatchObject({ verdict: 'fault', found: expect.stringContaining('the disk was full') });
      await sql.unsafe(row.remedy!);
      await sql`select rowmill.tick()`;
      await ok('triggers');
    });

    it('a role whose sessions fire none', async () => {
      const [row] = await sql`select current_database() as name`;
      await sql.unsafe(
        `alter role rowmill_worker in database "${row!.name}" set session_replication_role = replica`,
      );
      expect(await world.lookAt('triggers')).toMatchObject({
        verdict: 'fault',
        found: expect.stringContaining('session_replication_role'),
      });
      await sql.unsafe(`alter role rowmill_worker in database "${row!.name}" reset session_replication_role`);
      await ok('triggers');
    });
  });

  describe('pipelines', () => {
    it('one was paused by the circuit breaker, or by hand', async () => {
      await ok('pipelines');
      await sql`update rowmill.pipelines set state = 'paused', state_reason = '3 batches in a row failed' where id = ${films}`;
      const row = await world.lookAt('pipelines');
      expect(row).toMatchObject({
        verdict: 'warning',
        found: '"films" is paused: 3 batches in a row failed',
        remedy: `select rowmill.resume_pipeline('films');`,
      });
      await sql.unsafe(row.remedy!);
      await ok('pipelines');
      await sql`select rowmill.pause_pipeline('films')`;
      expect(await world.lookAt('pipelines')).toMatchObject({ verdict: 'note' });
    });

    it('one has a problem, and one has lost its table', async () => {
      await sql`select rowmill.note_tick_problem(${films}, 'a chunk could not be posted')`;
      expect(await world.lookAt('pipelines')).toMatchObject({
        verdict: 'warning',
        found: expect.stringContaining('could not be posted'),
      });
      await createFilms(sql, 'public.gone');
      await createPipeline(sql, { name: 'gone', source: 'public.gone' });
      await sql`drop table gone cascade`;
      expect(await world.lookAt('pipelines')).toMatchObject({
        verdict: 'fault',
        found: expect.stringContaining('"gone"'),
      });
      expect(await world.lookAt('table rights')).toMatchObject({ verdict: 'ok' });
      await sql`select rowmill.drop_pipeline('gone')`;
    });

    it('a model has no price, with a budget and without', async () => {
      await createFilms(sql, 'public.dear');
      await createPipeline(sql, { name: 'dear', source: 'public.dear', model: 'gpt-99' });
      expect(await world.lookAt('prices')).toMatchObject({
        verdict: 'note',
        found: expect.stringContaining('gpt-99'),
      });
      await sql`update rowmill.settings set daily_budget_usd = 10`;
      const row = await world.lookAt('prices');
      expect(row).toMatchObject({ verdict: 'fault', found: expect.stringContaining('nothing is sent') });
      await sql.unsafe(row.remedy!.replace('…, …, …', '1, 1, 1').replace(/;.*/, ''));
      await ok('prices');
      await sql`update rowmill.settings set daily_budget_usd = null`;
      await sql`select rowmill.drop_pipeline('dear')`;
    });

    it('the provider takes no batches, and its queue is full', async () => {
      await ok('provider');
      await sql`select rowmill.note_refusal(${films}, 'Incorrect API key provided.')`;
      const row = await world.lookAt('provider');
      expect(row).toMatchObject({ verdict: 'warning', found: expect.stringContaining('Incorrect API key') });
      expect(row.remedy).toContain('OPENAI_API_KEY');
      await sql`select rowmill.resume_pipeline('films')`;
      await ok('provider');
      await sql`select rowmill.note_full_queue('gpt-4o-mini', 1000)`;
      expect((await world.lookAt('provider')).found).toContain('its queue for gpt-4o-mini is full');
      await sql`delete from rowmill.model_states`;
    });
  });

  describe('batches', () => {
    async function prepared(): Promise<number> {
      await insertFilms(sql, 1, 3);
      await sql`select rowmill.flush('films')`;
      return await begunBatch(sql, (await takeChunks(sql, 'films')).chunkIds, { key: 'doctor' });
    }
    async function running(): Promise<void> {
      await insertFilms(sql, 1, 3);
      await sql`select rowmill.flush('films')`;
      await startBatch(sql, await takeChunks(sql, 'films'));
    }

    it('one is being prepared for too long, or under a worker’s hands', async () => {
      await prepared();
      await ok('batches');
      await batches(`created_at = now() - interval '7 minutes'`);
      await ok('batches');
      await batches(`lease_until = now() - interval '1 second'`);
      expect(await world.lookAt('batches')).toMatchObject({
        verdict: 'warning',
        found: expect.stringMatching(/batch \d+ is being prepared since 7 minutes ago/),
        remedy: expect.stringContaining('worker'),
      });
    });

    it('one is overdue for a look, or runs for more than its day', async () => {
      await running();
      await ok('batches');
      await batches(`poll_at = now() - interval '4 minutes'`);
      await ok('batches');
      await batches(`poll_at = now() - interval '6 minutes'`);
      expect((await world.lookAt('batches')).found).toMatch(/was due for a look 6 minutes ago/);
      await batches(`poll_at = now(), submitted_at = now() - interval '26 hours'`);
      expect((await world.lookAt('batches')).found).toMatch(/runs since 26 hours ago/);
      await batches(`submitted_at = now(), problem = 'no such batch'`);
      expect((await world.lookAt('provider')).found).toMatch(/a look at batch \d+ failed: no such batch/);
    });

    it('one has ended and nobody reads it, deletes its files or sweeps up after it', async () => {
      await running();
      const ended = `ended_at = now() - interval '2 hours', state`;
      await batches(`${ended} = 'ended'`);
      expect((await world.lookAt('batches')).found).toMatch(/answers are not read/);
      await batches(`${ended} = 'harvested', settled_at = now()`);
      expect((await world.lookAt('batches')).found).toMatch(/files are not deleted/);
      await batches(`${ended} = 'done', done_at = now(), sweep_at = now() - interval '2 hours'`);
      expect((await world.lookAt('batches')).found).toMatch(/may have left at the provider/);
      await batches('sweep_at = null');
      await ok('batches');
    });
  });

  describe('the queue', () => {
    it('a chunk waits that nobody takes', async () => {
      await insertFilms(sql, 1, 3);
      await sql`select rowmill.flush('films')`;
      await ok('queue');
      await sql`update rowmill.chunks set formed_at = now() - interval '6 minutes'`;
      expect(await world.lookAt('queue')).toMatchObject({
        verdict: 'warning',
        found: expect.stringContaining('no worker took it'),
      });
      await sql`select rowmill.pause_pipeline('films')`;
      await ok('queue');
    });

    it('a chunk waits for room, which is no fault', async () => {
      await insertFilms(sql, 1, 3);
      await sql`select rowmill.flush('films')`;
      await sql`update rowmill.chunks set formed_at = now() - interval '1 day', waits_for = 'budget', wait_reason = 'the budget is used up'`;
      expect(await world.lookAt('queue')).toMatchObject({
        verdict: 'note',
        found: expect.stringContaining('the budget is used up'),
      });
    });

    it('rows wait that nobody groups', async () => {
      await insertFilms(sql, 1, 3);
      await ok('queue');
      await sql`update rowmill.pending_keys set queued_at = now() - interval '7 minutes'`;
      expect(await world.lookAt('queue')).toMatchObject({
        verdict: 'warning',
        found: expect.stringContaining('in no chunk'),
      });
    });

    it('a dead worker holds rows', async () => {
      await insertFilms(sql, 1, 3);
      await sql`select rowmill.flush('films')`;
      await takeChunks(sql, 'films');
      await ok('leases');
      await sql`update rowmill.chunks set lease_until = now() - interval '2 minutes'`;
      const row = await world.lookAt('leases');
      expect(row).toMatchObject({ verdict: 'warning', found: expect.stringContaining('3 rows') });
      await sql.unsafe(row.remedy!);
      await ok('leases');
    });

    it('is looked at through its key with a million rows in it', async () => {
      await sql`
        insert into rowmill.pending_keys (pipeline_id, keys, row_count)
        select ${films}, '[[1]]', 1 from generate_series(1, 1000000)`;
      await sql`analyze rowmill.pending_keys`;
      await sql.begin(async (tx) => {
        await tx`select rowmill.examine_queue()`;
        const [read] = await tx`
          select s.seq_scan::integer, s.idx_tup_fetch::integer from pg_stat_xact_user_tables as s
          where s.relid = 'rowmill.pending_keys'::regclass`;
        expect(read!.seq_scan).toBe(0);
        expect(read!.idx_tup_fetch).toBeLessThan(1000);
      });
    });
  });
});
