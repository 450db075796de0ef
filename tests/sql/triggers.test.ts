import { pipeline as streamTo } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import {
  createFilms,
  createPipeline,
  emptyQueue,
  insertFilms,
  type PipelineOptions,
  problemOf,
  queuedKeys,
  tick,
} from '../support/sql-factories.ts';

describe('the triggers on a source table', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  let tables = 0;
  beforeAll(async () => {
    database = await createDatabase();
    sql = database.sql;
  });
  afterAll(() => database.drop());

  async function films(options: PipelineOptions = {}) {
    tables += 1;
    const name = `films_${tables}`;
    const table = `public.${name}`;
    await createFilms(sql, table);
    const id = await createPipeline(sql, { name, source: table, ...options });
    return { name, table, id };
  }

  const oneToN = (count: number) => Array.from({ length: count }, (_, at) => [at + 1]);
  const byFirst = (left: unknown[], right: unknown[]) => Number(left[0]) - Number(right[0]);

  describe('on insert', () => {
    it.each([1, 175, 1000, 1001, 2500])('%i rows of one statement are queued once each', async (count) => {
      const { table, id } = await films();
      await insertFilms(sql, 1, count, table);
      expect((await queuedKeys(sql, id)).sort(byFirst)).toEqual(oneToN(count));
    });

    it('175 statements of a row each are queued once each', async () => {
      const { table, id } = await films({ chunk_size: 20 });
      for (let n = 1; n <= 175; n += 1) await insertFilms(sql, n, n, table);
      expect((await queuedKeys(sql, id)).sort(byFirst)).toEqual(oneToN(175));
    });

    it.each([1, 2, 5, 15, 16, 17, 999])(
      'no size of statement goes ill with chunk_size %i',
      async (chunkSize) => {
        const { name, table, id } = await films({ chunk_size: chunkSize });
        let next = 1;
        for (const count of [1, 2, 3, 7, 16, 61, 62, 63]) {
          await insertFilms(sql, next, next + count - 1, table);
          next += count;
        }
        expect((await queuedKeys(sql, id)).sort(byFirst)).toEqual(oneToN(next - 1));
        expect(await problemOf(sql, name)).toBeNull();
      },
    );

    it('no rows queue nothing', async () => {
      const { name, table, id } = await films();
      await insertFilms(sql, 1, 0, table);
      expect(await queuedKeys(sql, id)).toEqual([]);
      expect(await problemOf(sql, name)).toBeNull();
    });

    it('what is rolled back is not queued', async () => {
      const { table, id } = await films({ chunk_size: 10 });
      await sql
        .begin(async (tx) => {
          await insertFilms(tx, 1, 25, table);
          throw new Error('undo');
        })
        .catch(() => {});
      expect(await queuedKeys(sql, id)).toEqual([]);
      expect(await sql`select from rowmill.chunks where pipeline_id = ${id}`).toHaveLength(0);
    });

    it('what a savepoint takes back is not queued, and the rest is', async () => {
      const { table, id } = await films({ chunk_size: 10 });
      await sql.begin(async (tx) => {
        await insertFilms(tx, 1, 5, table);
        await tx
          .savepoint(async (inner) => {
            await insertFilms(inner, 6, 30, table);
            throw new Error('undo');
          })
          .catch(() => {});
        await insertFilms(tx, 31, 31, table);
      });
      expect((await queuedKeys(sql, id)).sort(byFirst)).toEqual([...oneToN(5), [31]]);
    });

    it('COPY is queued', async () => {
      const { name, table, id } = await films();
      const lines = Array.from({ length: 1200 }, (_, at) => `${at + 1}\tfilm\n`);
      await sql.begin(async (tx) => {
        const copy = await tx.unsafe(`copy ${table} (id, title) from stdin`).writable();
        await streamTo(async function* () {
          yield* lines;
        }, copy);
      });
      expect((await queuedKeys(sql, id)).sort(byFirst)).toEqual(oneToN(1200));
      expect(await problemOf(sql, name)).toBeNull();
    });

    it('an upsert queues what it inserts and what it edits, and nothing that stays as it was', async () => {
      const { table, id } = await films();
      await insertFilms(sql, 1, 4, table);
      await emptyQueue(sql, id);
      await sql.unsafe(`
        insert into ${table} (id, title) values (3, 'film 3'), (4, 'edited'), (5, 'new')
        on conflict (id) do update set title = excluded.title`);
      expect((await queuedKeys(sql, id)).sort(byFirst)).toEqual([[4], [5]]);
      await emptyQueue(sql, id);
      await sql.unsafe(`insert into ${table} (id, title) values (5, 'x') on conflict do nothing`);
      expect(await queuedKeys(sql, id)).toEqual([]);
    });

    it('merge queues what it inserts and what it edits', async () => {
      const { table, id } = await films();
      await insertFilms(sql, 1, 1, table);
      await emptyQueue(sql, id);
      await sql.unsafe(`
        merge into ${table} as f using (values (1, 'edited'), (2, 'new')) as v(id, title) on f.id = v.id
        when matched then update set title = v.title
        when not matched then insert (id, title) values (v.id, v.title)`);
      expect((await queuedKeys(sql, id)).sort(byFirst)).toEqual([[1], [2]]);
    });

    it('a role that may only insert has its row queued', async () => {
      const { table, id } = await films();
      const role = `clerk_${database.url.slice(-12)}`;
      await sql.unsafe(
        `create role ${role}; grant insert, update (title), select (id) on ${table} to ${role}`,
      );
      try {
        await sql.begin(async (tx) => {
          await tx.unsafe(`set local role ${role}`);
          await insertFilms(tx, 1, 2, table);
          await tx.unsafe(`update ${table} set title = 'edited' where id = 1`);
        });
        expect(await queuedKeys(sql, id)).toEqual([[1], [2], [1]]);
      } finally {
        await sql.unsafe(`drop owned by ${role}; drop role ${role}`);
      }
    });

    it('two pipelines over one table queue each row for either', async () => {
      const { name, table, id } = await films();
      const second = await createPipeline(sql, { name: `${name}_too`, source: table, outputs: ['score'] });
      await insertFilms(sql, 1, 3, table);
      expect(await queuedKeys(sql, id)).toEqual(oneToN(3));
      expect(await queuedKeys(sql, second)).toEqual(oneToN(3));
    });
  });

  describe('on update', () => {
    it('an edit of an input queues the row; of another column, an output, or to the same value nothing', async () => {
      const { table, id } = await films({ filter: 'score is null' });
      await insertFilms(sql, 1, 3, table);
      await emptyQueue(sql, id);
      for (const edit of [`note = 'x'`, `summary = 'x'`, `title = title`, `title = 'film 2', note = 'y'`]) {
        await sql.unsafe(`update ${table} set ${edit} where id = 2`);
      }
      expect(await queuedKeys(sql, id)).toEqual([]);
      await sql.unsafe(`update ${table} set title = 'edited' where id = 2`);
      await sql.unsafe(`update ${table} set title = null where id = 3`);
      // the filter may select it now
      await sql.unsafe(`update ${table} set score = 1 where id = 1`);
      expect(await queuedKeys(sql, id)).toEqual([[2], [3], [1]]);
    });

    it('an edit of the key queues the new key', async () => {
      const { table, id } = await films();
      await insertFilms(sql, 1, 2, table);
      await emptyQueue(sql, id);
      await sql.unsafe(`update ${table} set id = 20 where id = 2`);
      expect(await queuedKeys(sql, id)).toEqual([[20]]);
    });

    it('an edit that a BEFORE trigger makes is seen', async () => {
      tables += 1;
      const table = `public.films_${tables}`;
      await createFilms(sql, table);
      await sql.unsafe(`
        create function public.retitle_${tables}() returns trigger language plpgsql as
          $$ begin new.title := 'from ' || new.note; return new; end $$;
        create trigger retitle before update on ${table} for each row execute function public.retitle_${tables}()`);
      const id = await createPipeline(sql, { name: `films_${tables}`, source: table });
      await insertFilms(sql, 1, 1, table);
      await emptyQueue(sql, id);
      await sql.unsafe(`update ${table} set note = 'x' where id = 1`);
      expect(await queuedKeys(sql, id)).toEqual([[1]]);
      await sql.unsafe(`update ${table} set note = 'x' where id = 1`);
      expect(await queuedKeys(sql, id)).toEqual([[1]]);
    });

    it('an edit that a BEFORE trigger makes is seen after a tick, where the trigger came later', async () => {
      const { table, id } = await films();
      await insertFilms(sql, 1, 1, table);
      await emptyQueue(sql, id);
      await sql.unsafe(`
        create function public.retitle_${tables}() returns trigger language plpgsql as
          $$ begin new.title := 'from ' || new.note; return new; end $$;
        create trigger retitle before update on ${table} for each row execute function public.retitle_${tables}()`);
      await tick(sql);
      await sql.unsafe(`update ${table} set note = 'x' where id = 1`);
      expect(await queuedKeys(sql, id)).toEqual([[1]]);
    });

    it('an edit of what a generated input is made of queues the row', async () => {
      const [{ version }] =
        (await sql`select current_setting('server_version_num')::int as version`) as unknown as [
          { version: number },
        ];
      for (const kind of version >= 180_000 ? ['stored', 'virtual'] : ['stored']) {
        tables += 1;
        const table = `public.films_${tables}`;
        await sql.unsafe(
          `create table ${table} (id int primary key, title text, loud text generated always as (upper(title)) ${kind}, summary text)`,
        );
        const id = await createPipeline(sql, { name: `films_${tables}`, source: table, prompt: '{{loud}}' });
        await sql.unsafe(`insert into ${table} (id, title) values (1, 'a')`);
        await emptyQueue(sql, id);
        await sql.unsafe(`update ${table} set title = 'A' where id = 1`);
        expect(await queuedKeys(sql, id)).toEqual([]);
        await sql.unsafe(`update ${table} set title = 'b' where id = 1`);
        expect(await queuedKeys(sql, id)).toEqual([[1]]);
      }
    });
  });

  describe('on a partitioned table', () => {
    async function partitioned() {
      tables += 1;
      const name = `films_${tables}`;
      const table = `public.${name}`;
      await sql.unsafe(`
        create table ${table} (id int, year int, title text, summary text, primary key (id, year)) partition by range (year);
        create table ${table}_1 partition of ${table} for values from (1900) to (1950);
        create table ${table}_2 partition of ${table} for values from (1950) to (2000) partition by list (year);
        create table ${table}_2_1 partition of ${table}_2 default`);
      const id = await createPipeline(sql, { name, source: table });
      return { name, table, id };
    }

    it('rows are queued once through the parent, a branch and a leaf', async () => {
      const { name, table, id } = await partitioned();
      await sql.unsafe(`insert into ${table} values (1, 1940, 'a'), (2, 1960, 'b')`);
      await sql.unsafe(`insert into ${table}_1 values (3, 1941, 'c')`);
      await sql.unsafe(`insert into ${table}_2 values (4, 1961, 'd')`);
      await sql.unsafe(`insert into ${table}_2_1 values (5, 1962, 'e')`);
      const keys = [
        [1, 1940],
        [2, 1960],
        [3, 1941],
        [4, 1961],
        [5, 1962],
      ];
      expect((await queuedKeys(sql, id)).sort(byFirst)).toEqual(keys);
      expect(await problemOf(sql, name)).toBeNull();
    });

    it('rows of a partition that was attached later are queued: through the parent at once, straight after a tick', async () => {
      const { table, id } = await partitioned();
      // its columns stand in another order
      await sql.unsafe(`
        create table ${table}_3 (summary text, title text, year int not null, id int not null);
        alter table ${table} attach partition ${table}_3 for values from (2000) to (2050)`);
      await sql.unsafe(`insert into ${table} values (1, 2010, 'a')`);
      await tick(sql);
      await sql.unsafe(`insert into ${table}_3 (id, year, title) values (2, 2011, 'b')`);
      await sql.unsafe(`update ${table}_3 set title = 'edited' where id = 1`);
      expect((await queuedKeys(sql, id)).sort(byFirst)).toEqual([
        [1, 2010],
        [1, 2010],
        [2, 2011],
      ]);
    });

    it('an edit that moves a row into another partition queues its new key', async () => {
      const { table, id } = await partitioned();
      await sql.unsafe(`insert into ${table} values (1, 1940, 'a'), (2, 1960, 'b')`);
      await emptyQueue(sql, id);
      await sql.unsafe(`update ${table} set year = 1970 where id = 1`);
      await sql.unsafe(`update ${table} set title = 'edited' where id = 2`);
      const keys = (await queuedKeys(sql, id)).map((key) => JSON.stringify(key));
      expect(new Set(keys)).toEqual(new Set(['[1,1970]', '[2,1960]']));
    });
  });

  describe('under isolation', () => {
    it.each(['serializable', 'repeatable read'])('a %s insert commits while ticks run', async (level) => {
      const { table, id } = await films({ chunk_size: 10, flush_after: '0 seconds' });
      for (let round = 0; round < 5; round += 1) {
        await sql.begin(`isolation level ${level}`, async (tx) => {
          const from = round * 40 + 1;
          await insertFilms(tx, from, from + 19, table);
          await tick(sql);
          await tx.unsafe(`update ${table} set title = 'edited' where id = ${from}`);
          await insertFilms(tx, from + 20, from + 39, table);
          await tick(sql);
        });
      }
      const keys = (await queuedKeys(sql, id)).map(([key]) => key);
      expect(new Set(keys).size).toBe(200);
    });

    it('two serializable inserts at once both commit', async () => {
      const { table, id } = await films({ chunk_size: 10 });
      await sql.begin('isolation level serializable', async (first) => {
        await insertFilms(first, 1, 20, table);
        await sql.begin('isolation level serializable', (second) => insertFilms(second, 21, 40, table));
        await insertFilms(first, 41, 60, table);
      });
      expect(await queuedKeys(sql, id)).toHaveLength(60);
    });

    it('a statement in an open transaction takes no keys of other sessions, and holds no tick up', async () => {
      const { table, id } = await films({ chunk_size: 10, flush_after: '0 seconds' });
      await insertFilms(sql, 1, 7, table);
      await sql.begin(async (tx) => {
        await tx`select 1`;
        await insertFilms(tx, 101, 105, table);
        expect(await queuedKeys(tx, id)).toEqual([
          ...oneToN(7),
          ...[101, 102, 103, 104, 105].map((n) => [n]),
        ]);
        await insertFilms(tx, 106, 112, table);
        const own = await tx`select keys from rowmill.chunks where pipeline_id = ${id}`;
        expect(own.map((chunk) => chunk.keys)).toEqual([Array.from({ length: 10 }, (_, at) => [101 + at])]);
        await tick(sql);
        const foreign = await sql`select row_count from rowmill.chunks where pipeline_id = ${id}`;
        expect(foreign.map((chunk) => chunk.row_count)).toEqual([7]);
      });
      const chunks = await sql`select row_count from rowmill.chunks where pipeline_id = ${id} order by id`;
      expect(chunks.map((chunk) => chunk.row_count)).toEqual([10, 7]);
      expect(await queuedKeys(sql, id)).toHaveLength(19);
    });
  });
});
