import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { inject } from 'vitest';
import { supabase } from '../../scripts/supabase-cli.ts';
// For the type of inject('databaseUrl').
import type {} from './global-setup.ts';

export type TestDatabase = {
  url: string;
  sql: postgres.Sql;
  /** Ends `sql`, disconnects whoever else is there, and drops the database. Harmless to repeat. */
  drop(): Promise<void>;
};

const MIGRATIONS = new URL('../../supabase/migrations/', import.meta.url);
// Any number will do, as long as nothing else on the server locks it.
const TEMPLATE_LOCK = 7_280_519;
// As the service's own connections read them; no id of a test passes 2^53.
const BIGINT_AS_NUMBER = { to: 20, from: [20], serialize: String, parse: Number };
const OBJECT_IN_USE = '55006';
const OBJECT_IN_USE_PATIENCE_MS = 30_000;

/**
 * A fresh database with a unique name on the run's server: a copy of the migrated template or, with
 * `migrated: false` or an encoding, an empty one. The caller drops it; what a crashed run leaves behind hurts no other run. `url` and
 * `sql` are a superuser's or, with TEST_AS=supabase, those of a Supabase project's owner.
 */
export async function createDatabase(
  options: { migrated?: boolean; encoding?: string } = {},
): Promise<TestDatabase> {
  const server = inject('databaseUrl');
  const owner = inject('ownerUrl');
  const name = `rowmill_test_${randomBytes(6).toString('hex')}`;
  await asAdmin(server, async (admin) => {
    const isEmpty = options.migrated === false || options.encoding !== undefined;
    const template = isEmpty ? 'template0' : await ensureTemplate(admin, server, owner);
    await createOwned(admin, name, template, owner, options.encoding);
  });
  const url = databaseUrl(owner ?? server, name);
  const sql = postgres(url, { onnotice: () => undefined, types: { bigint: BIGINT_AS_NUMBER } });
  return {
    url,
    // Its type names the parsers it was given, which no test cares about.
    sql: sql as unknown as postgres.Sql,
    async drop() {
      await sql.end({ timeout: 5 });
      await asAdmin(server, (admin) => admin`drop database if exists ${admin(name)} with (force)`);
    },
  };
}

/**
 * Builds the template once. Its name is a digest of the migrations, so a server that outlives the run never serves an
 * old one; and it gets that name only when it is finished, so a run killed in the middle leaves no half template.
 */
async function ensureTemplate(admin: postgres.Sql, server: string, owner: string | null): Promise<string> {
  const name = `rowmill_template_${owner === null ? '' : 'supabase_'}${await digestOfMigrations()}`;
  const unfinished = `${name}_unfinished`;
  // Held by the session: `create database` cannot run inside a transaction.
  await admin`select pg_catalog.pg_advisory_lock(${TEMPLATE_LOCK})`;
  try {
    const found = await admin`select 1 from pg_catalog.pg_database where datname = ${name}`;
    if (found.length > 0) return name;
    await admin`drop database if exists ${admin(unfinished)} with (force)`;
    await createOwned(admin, unfinished, 'template0', owner);
    if (owner === null) {
      const { migrate } = await import('../../src/store/migrate.ts');
      await migrate({ url: databaseUrl(server, unfinished) });
    } else {
      await supabase('db', 'push', `--remote=${databaseUrl(owner, unfinished)}`);
    }
    await whenUnused(() => admin`alter database ${admin(unfinished)} with allow_connections false`);
    await whenUnused(() => admin`alter database ${admin(unfinished)} rename to ${admin(name)}`);
    return name;
  } finally {
    await admin`select pg_catalog.pg_advisory_unlock(${TEMPLATE_LOCK})`;
  }
}

async function createOwned(
  admin: postgres.Sql,
  name: string,
  template: string,
  owner: string | null,
  encoding?: string,
): Promise<void> {
  const whose = owner === null ? admin`` : admin`owner ${admin(new URL(owner).username)}`;
  // The locale C goes with every encoding.
  const stored = encoding === undefined ? admin`` : admin`encoding ${admin(encoding)} locale "C"`;
  await whenUnused(
    () => admin`create database ${admin(name)} template ${admin(template)} ${stored} ${whose}`,
  );
}

async function digestOfMigrations(): Promise<string> {
  const digest = createHash('sha256');
  for (const file of (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort()) {
    digest.update(file).update(await readFile(new URL(file, MIGRATIONS)));
  }
  return digest.digest('hex').slice(0, 16);
}

/** A closed connection is gone for its client before the server has cleared it away (an autovacuum worker counts, too). */
async function whenUnused<T>(statement: () => PromiseLike<T>): Promise<T> {
  const end = performance.now() + OBJECT_IN_USE_PATIENCE_MS;
  for (;;) {
    try {
      return await statement();
    } catch (error) {
      const isInUse = error instanceof postgres.PostgresError && error.code === OBJECT_IN_USE;
      if (!isInUse || performance.now() > end) throw error;
      await delay(50);
    }
  }
}

async function asAdmin<T>(server: string, work: (admin: postgres.Sql) => PromiseLike<T>): Promise<T> {
  const admin = postgres(server, { max: 1, onnotice: () => undefined });
  try {
    return await work(admin);
  } finally {
    await admin.end({ timeout: 5 });
  }
}

/** Takes a URL of the server; returns the one of another database on it. */
export function databaseUrl(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}
