import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isDatabaseAway, isDatabaseUnreachable } from '../../src/errors.ts';
import { createStore, type Slice } from '../../src/store/store.ts';
import type { Transport } from '../../src/store/transport.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitFor } from '../support/service.ts';
import { answer, endedBatch } from '../support/sql-factories.ts';
import { workerFunctionsOf } from '../support/worker-functions.ts';
import { cases, emptySlice, type Ground, queueFilms } from './conformance-cases.ts';

/** A way to a database, and what else has to be closed after it. */
export type Opened = { transport: Transport; close(): Promise<void> };
export type Way = {
  open(databaseUrl: string): Promise<Opened>;
  /** To a port of this machine where no database is. */
  openAt(port: number): Transport;
};

const helpers = `
  create function rowmill.echo_rows(rows jsonb) returns jsonb language sql as 'select rows';
  create function rowmill.echo_text(problem text) returns text language sql as 'select problem';
  create function rowmill.echo_id(id bigint) returns bigint language sql as 'select id';
  create function rowmill.echo_flag(flag boolean) returns boolean language sql as 'select flag';
  create function rowmill.echo_ids(chunk_ids bigint[]) returns jsonb language sql as 'select to_jsonb(chunk_ids)';
  create function rowmill.echo_leases(leases text[]) returns jsonb language sql as 'select to_jsonb(leases)';
  create function rowmill.ids() returns table (id bigint, name text) language sql
    as 'values (1, ''one''), (9007199254740991, ''many''), (null, null)';
  create function rowmill.refuse(code text) returns integer language plpgsql
    as 'begin raise exception using errcode = refuse.code, message = ''not yours'', detail = ''because'', hint = ''let go''; end';
  create function rowmill.refuse_briefly() returns integer language plpgsql as 'begin raise exception ''no''; end';
  create function rowmill.say_nothing() returns void language plpgsql as 'begin end';
  create function rowmill.wait(seconds double precision) returns text language plpgsql
    as 'begin perform pg_catalog.pg_sleep(seconds); return ''waited''; end';
  grant execute on all functions in schema rowmill to service_role;
`;

/** What every transport has to do alike; a function of the worker's without a case turns it red. */
export function describeTransport(name: string, way: Way): void {
  describe(`the store over ${name}`, () => {
    let database: TestDatabase;
    let opened: Opened;
    let ground: Ground;
    let called: Set<string>;
    beforeEach(async () => {
      database = await createDatabase();
      opened = await way.open(database.url);
      called = new Set();
      const noted = noting(opened.transport, called);
      const store = createStore(noted, 'w', 'test');
      const lease = await store.takeLease();
      const others = await createStore(noted, 'other', 'test').takeLease();
      ground = { sql: database.sql, transport: noted, store, lease, others };
    });
    afterEach(async () => {
      await opened.close();
      await database.drop();
    });

    it('has a case for each function that a worker may call', async () => {
      expect(Object.keys(cases).sort()).toEqual(await workerFunctionsOf(database.sql));
    });

    it.each(Object.entries(cases))('%s', async (name, check) => {
      await check(ground);
      expect([...called]).toContain(name === 'migration_versions' ? 'missingMigrations' : name);
    });

    it('brings a megabyte of answers in one slice, and numbers with all their digits', async () => {
      const { sql, lease } = ground;
      await sql`create table films (id bigint primary key, title text, summary text, score numeric)`;
      await sql`select rowmill.create_pipeline(name => 'films', source => 'films', instructions => null,
        prompt => '{{title}}', outputs => array['summary', 'score'], model => 'gpt-4o-mini')`;
      await sql`insert into films (id, title) select n, 'film ' || n from generate_series(1, 1000) as n`;
      const { batchId, rows } = await endedBatch(sql, 'films', lease.hold.id);
      const digits = '12345678901234567890.123456789';
      // As the answers' parser has them.
      const score = (JSON as unknown as { rawJSON(text: string): never }).rawJSON(digits);
      const long = 'ü "\\ 😀 '.repeat(120);
      const answers = rows.map((row) => answer(row, `${long}${row.n}`, score));
      const slice = { ...emptySlice, answers } as Slice;
      expect(JSON.stringify(slice).length).toBeGreaterThan(1_000_000);
      expect(await lease.applyResults(batchId, slice)).toMatchObject({ enriched: 1000, failed: 0 });
      const [sum] = await sql`
        select count(*)::integer as rows from films where score::text = ${digits} and summary like ${long.replaceAll('\\', '\\\\')} || '%'`;
      expect(sum).toEqual({ rows: 1000 });
    });

    it('shares work between eight claims at once, and gives no chunk twice', async () => {
      await queueFilms(ground.sql, 80, { chunk_size: 10 });
      const leases = await Promise.all(Array.from({ length: 8 }, () => ground.store.takeLease()));
      const claims = await Promise.all(leases.map((lease) => lease.claimWork(2)));
      const rest = await ground.lease.claimWork(8);
      const chunks = [...claims.flat(), ...rest].map((chunk) => chunk.chunk_id);
      expect(chunks.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      for (const claim of claims) expect(claim.length).toBeLessThanOrEqual(2);
    });

    it('reads and holds a chunk of 2,500 rows, place by place', async () => {
      const { sql, store, lease } = ground;
      await queueFilms(sql, 2500, { chunk_size: 5000 });
      await sql`delete from films where id in (1, 1500)`;
      expect(await lease.claimChunk(1, 'films', null)).toMatchObject({ status: 'accepted', row_count: 2500 });
      const rows = await store.readChunk(1, 0, 2500);
      expect(rows.map((row) => row.n).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 2500 }, (_, n) => n).filter((n) => n !== 0 && n !== 1499),
      );
      const held = await lease.holdRows(1, rows);
      expect(held.size).toBe(2498);
    });

    it('claims more than 1,000 chunks for a few batches, and knows of each', async () => {
      const { sql, lease } = ground;
      await queueFilms(sql, 1500, { chunk_size: 1 });
      await sql`update rowmill.chunks set waits_for = 'rate', wait_reason = 'a test'`;
      const claimed = await lease.claimWork(8);
      const [held] =
        await sql`select count(*)::integer as chunks from rowmill.chunks where owner = ${lease.hold.id}`;
      expect(new Set(claimed.map((chunk) => chunk.chunk_id)).size).toBe(1500);
      expect(held).toEqual({ chunks: 1500 });
      expect([...new Set(claimed.map((chunk) => chunk.batch))]).toEqual([1, 2]);
      expect(claimed.filter((chunk) => chunk.batch === 1)).toHaveLength(1000);
    });

    it('claims and records more than 1,000 looks at batches', async () => {
      const { sql, store } = ground;
      await queueFilms(sql, 1);
      await sql`
        insert into rowmill.batch_processing_details
          (key, pipeline_id, pipeline_version, model, endpoint, state, requests, bytes, provider_batch_id, submitted_at, poll_at)
        select 'key-' || n, 1, 1, 'gpt-4o-mini', '/v1/chat/completions', 'running', 1, 1, 'batch-' || n, now(), now() - interval '1 second'
        from generate_series(1, 1200) as n`;
      const due = await store.claimDuePolls(10_000, 20);
      expect(new Set(due.map((poll) => poll.batch_id)).size).toBe(1200);
      const states = await store.recordPolls(
        due.map(({ batch_id }) => ({
          ...{ batch_id, provider_status: 'completed', is_terminal: true, provider_errors: null },
          ...{ output_file_id: null, error_file_id: null, requests_completed: 0, requests_failed: 0 },
          ...{ input_tokens: null, cached_tokens: null, output_tokens: null },
        })),
      );
      expect(states.filter(({ state }) => state === 'ended')).toHaveLength(1200);
    });

    it('rejects where the database cannot be reached, and says why', async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      await new Promise((resolve) => server.close(resolve));
      const nowhere = way.openAt(port);
      const away = { code: 'database_unreachable', fields: { cause: 'ECONNREFUSED' } };
      await expect(nowhere.value('tick', {})).rejects.toMatchObject(away);
      await expect(nowhere.rows('claim_work', {})).rejects.toMatchObject(away);
      await expect(nowhere.missingMigrations()).rejects.toMatchObject(away);
      await expect(nowhere.value('tick', {})).rejects.toThrow(/out of reach: .*ECONNREFUSED/);
      await nowhere.close(10);
    });

    describe('with functions of the test', () => {
      beforeEach(async () => {
        await database.sql.unsafe(helpers);
        await database.sql`notify pgrst, 'reload schema'`;
        // A Data API hears of them a moment later.
        await waitFor('they are known', () =>
          ground.transport.value<number>('echo_id', { id: 1 }).catch(() => 0),
        );
      });

      it('gives ids as numbers, in rows, values and arrays', async () => {
        const { transport } = ground;
        const most = Number.MAX_SAFE_INTEGER;
        expect(await transport.rows('ids', {})).toStrictEqual([
          { id: 1, name: 'one' },
          { id: most, name: 'many' },
          { id: null, name: null },
        ]);
        expect(await transport.value('echo_id', { id: most })).toBe(most);
        expect(await transport.value('echo_ids', { chunk_ids: [3, 1, 2 ** 40] })).toEqual([3, 1, 2 ** 40]);
        expect(await transport.value('echo_ids', { chunk_ids: [] })).toEqual([]);
        const leases = ['host-1-ab/1', 'a, b/2', '{null}/3'];
        expect(await transport.value('echo_leases', { leases })).toEqual(leases);
      });

      it('carries documents, texts and flags as they are', async () => {
        const { transport } = ground;
        for (const rows of [
          [],
          [{ n: 0 }],
          { a: [{ b: [[1, [null]]] }], e: {} },
          'text',
          '{"a":1}',
          1.5,
          true,
        ]) {
          expect(await transport.value('echo_rows', { rows })).toEqual(rows);
        }
        const text = 'it\'s "5" $1 \\x00 \\ud800 😀 \u2028\u0085\u202e {} [] null';
        expect(await transport.value('echo_text', { problem: text })).toBe(text);
        expect(await transport.value('echo_text', { problem: 'null' })).toBe('null');
        expect(await transport.value('echo_text', { problem: 'a\0b\ud800c' })).toBe('a\u2400b\ufffdc');
        expect(await transport.value('echo_flag', { flag: false })).toBe(false);
        expect(await transport.value('echo_flag', { flag: true })).toBe(true);
        expect(await transport.value('say_nothing', {})).toBeNull();
        const calls = {
          echo_text: 'problem',
          echo_rows: 'rows',
          echo_ids: 'chunk_ids',
          echo_id: 'id',
          echo_flag: 'flag',
        };
        for (const [call, arg] of Object.entries(calls)) {
          expect(await transport.value(call, { [arg]: null })).toBeNull();
          expect(await transport.value(call, { [arg]: undefined })).toBeNull();
        }
      });

      it('lets errors through with code, message, detail and hint, and goes on', async () => {
        const { transport } = ground;
        const codes = ['RM301', '23505', '55P03', '57014', '40001', 'P0001', '42501', '22P02', 'XX000'];
        for (const code of codes) {
          const error = await transport.value('refuse', { code }).catch((reason: unknown) => reason);
          expect(error).toBeInstanceOf(Error);
          expect(error).toMatchObject({ code, message: 'not yours', detail: 'because', hint: 'let go' });
          expect(isDatabaseAway(error)).toBe(false);
        }
        const brief = await transport.value('refuse_briefly', {}).catch((reason: unknown) => reason);
        expect(brief).toMatchObject({ code: 'P0001', message: 'no' });
        expect(brief).not.toHaveProperty('detail');
        expect(brief).not.toHaveProperty('hint');
        expect(await transport.value('echo_id', { id: 1 })).toBe(1);
      });

      it.each(['08006', '57P01', '57P03', '53300'])(
        'takes an error %s for a database that is away',
        async (code) => {
          const error = await ground.transport.value('refuse', { code }).catch((reason: unknown) => reason);
          expect(error).toMatchObject({ code: 'database_unreachable', fields: { cause: code } });
        },
      );

      it.each([
        ['25006', 'database_read_only'],
        ['53100', 'database_full'],
      ])('takes an error %s for a database that takes no writes, and goes on', async (code, meaning) => {
        const error = await ground.transport.value('refuse', { code }).catch((reason: unknown) => reason);
        expect(error).toMatchObject({ code: meaning, fields: { cause: code } });
        expect([isDatabaseAway(error), isDatabaseUnreachable(error)]).toEqual([true, false]);
        expect(await ground.transport.value('echo_id', { id: 1 })).toBe(1);
      });

      const running = () =>
        waitFor('the call runs', async () => {
          const rows = await database.sql`
            select from pg_stat_activity
            where datname = current_database() and state = 'active' and pid <> pg_backend_pid() and query like '%wait%'`;
          return rows.length === 1;
        });

      it('lets calls in hand finish when it is closed, and takes no more', async () => {
        const call = ground.transport.value('wait', { seconds: 0.5 });
        await running();
        await ground.transport.close(5000);
        expect(await call).toBe('waited');
        await expect(ground.transport.value('echo_id', { id: 1 })).rejects.toThrow();
      });

      it('cuts them short when its time is over', async () => {
        const call = ground.transport.value('wait', { seconds: 7 }).catch((reason: unknown) => reason);
        await running();
        const beganAt = performance.now();
        await ground.transport.close(100);
        expect(await call).toMatchObject({ code: 'database_unreachable' });
        expect(performance.now() - beganAt).toBeLessThan(3000);
      });
    });
  });
}

function noting(transport: Transport, called: Set<string>): Transport {
  return {
    ...transport,
    rows: (name, args) => {
      called.add(name);
      return transport.rows(name, args);
    },
    value: (name, args) => {
      called.add(name);
      return transport.value(name, args);
    },
    missingMigrations: () => {
      called.add('missingMigrations');
      return transport.missingMigrations();
    },
  };
}
