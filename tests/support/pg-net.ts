import postgres from 'postgres';
import { inject } from 'vitest';
import { migrate } from '../../src/store/migrate.ts';
import { createDatabase, databaseUrl, type TestDatabase } from './database.ts';
import { type Deliverer, startDeliverer } from './pg-net-deliverer.ts';
import { pgNetStub } from './pg-net-stub.ts';

export type PgNet = {
  /** The real pg_net delivers: null; else the stand-in's deliverer, with its switches. */
  deliverer: Deliverer | null;
  stop(): Promise<void>;
};

/**
 * pg_net in a database: the real one where the server has it preloaded and its worker serves this very database, else the
 * stand-in and a deliverer.
 */
export async function ensurePgNet(database: Pick<TestDatabase, 'url' | 'sql'>): Promise<PgNet> {
  const { url, sql } = database;
  const [found] = await sql`
    select current_setting('pg_net.database_name', true) = current_database() as is_served`;
  if (found!.is_served) {
    await sql`create extension if not exists pg_net`;
    await sql`select net.wait_until_running()`;
    return { deliverer: null, stop: async () => undefined };
  }
  await sql.unsafe(pgNetStub);
  const deliverer = await startDeliverer(url);
  return { deliverer, stop: () => deliverer.stop() };
}

/**
 * A migrated database in which requests are delivered: a fresh one with the stand-in or, where the server has the real
 * pg_net, the one database that its worker serves. There, test files take turns, and what they made is taken away
 * again; a database with something in it is let alone, but for TEST_PG_NET=1, which empties it.
 */
export async function createPgNetDatabase(): Promise<TestDatabase & { pgNet: PgNet }> {
  const url = await servedDatabase(inject('databaseUrl'));
  if (url === null) return withPgNet(await createDatabase());
  const sql = connect(url);
  const turn = connect(url);
  const held = await turn.reserve();
  await held`select pg_advisory_lock(${TURN_LOCK})`;
  const finish = async () => {
    await clear(sql);
    await sql.end({ timeout: 5 });
    held.release();
    await turn.end({ timeout: 5 });
  };
  try {
    await clear(sql);
    await migrate({ url });
    return await withPgNet({ url, sql, drop: finish });
  } catch (error) {
    await finish();
    throw error;
  }
}

// Any number that nothing else on the server locks.
const TURN_LOCK = 7_280_522;

function connect(url: string): postgres.Sql {
  const types = { bigint: { to: 20, from: [20], serialize: String, parse: Number } };
  return postgres(url, { onnotice: () => undefined, types }) as unknown as postgres.Sql;
}

/** Takes away what is Rowmill's and what stands in schema public. */
async function clear(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    drop schema if exists rowmill, supabase_migrations cascade;
    do $$
    declare
      v_table regclass;
    begin
      for v_table in
        select c.oid from pg_class as c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
        and not exists (select from pg_depend as d where d.objid = c.oid and d.deptype = 'e')
      loop
        if exists (select from pg_class as c where c.oid = v_table) then
          execute format('drop %s %s cascade', case (select c.relkind from pg_class as c where c.oid = v_table) when 'v' then 'view' else 'table' end, v_table);
        end if;
      end loop;
    end;
    $$`);
}

/** The URL of the database that the real pg_net serves; null where there is none that tests may have. */
async function servedDatabase(server: string): Promise<string | null> {
  const forced = process.env.TEST_PG_NET === '1';
  const sql = postgres(server, { max: 1, onnotice: () => undefined });
  let name: string | null;
  try {
    const [found] = await sql`select current_setting('pg_net.database_name', true) as name`;
    name = found!.name || null;
  } finally {
    await sql.end({ timeout: 5 });
  }
  if (name === null) {
    if (forced) throw new Error('TEST_PG_NET=1 wants a server with pg_net in shared_preload_libraries');
    return null;
  }
  const url = databaseUrl(server, name);
  return forced || (await isEmpty(url, name)) ? url : null;
}

/** Whether nothing stands in it but what extensions made; another test file at work is waited for. */
async function isEmpty(url: string, name: string): Promise<boolean> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    await sql`select pg_advisory_lock(${TURN_LOCK})`;
    const [found] = await sql`
      select to_regnamespace('rowmill') is null and not exists (
        select from pg_class as c
        where c.relnamespace = 'public'::regnamespace
        and not exists (select from pg_depend as d where d.objid = c.oid and d.deptype = 'e')
      ) as is_empty`;
    if (!found!.is_empty) {
      console.warn(
        `pg_net serves database "${name}", which holds something; a stand-in is used. TEST_PG_NET=1 empties it for the tests`,
      );
    }
    return found!.is_empty;
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function withPgNet(database: TestDatabase): Promise<TestDatabase & { pgNet: PgNet }> {
  const pgNet = await ensurePgNet(database);
  return {
    ...database,
    pgNet,
    async drop() {
      await pgNet.stop();
      await database.drop();
    },
  };
}
