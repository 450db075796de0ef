import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject } from 'vitest';
import { migrate } from '../../src/store/migrate.ts';

export type TestDatabase = {
  url: string;
  sql: postgres.Sql;
  /** Ends the client and drops the database, whoever is connected. */
  drop(): Promise<void>;
};

const template = 'rowmill_template';
const templateLock = 7_110_291;

/** A database of the test's own; migrated unless said otherwise. */
export async function createDatabase(options: { migrated?: boolean } = {}): Promise<TestDatabase> {
  const server = inject('databaseUrl');
  const name = `rowmill_${randomBytes(6).toString('hex')}`;
  const admin = postgres(server, { max: 1, onnotice: () => {} });
  try {
    if (options.migrated ?? true) {
      // One at a time: Postgres copies no template that somebody else is copying or filling.
      await admin`select pg_advisory_lock(${templateLock})`;
      await ensureTemplate(admin, server);
      await admin.unsafe(`create database ${name} template ${template}`);
      await admin`select pg_advisory_unlock(${templateLock})`;
    } else {
      await admin.unsafe(`create database ${name}`);
    }
  } finally {
    await admin.end();
  }
  const url = databaseUrl(server, name);
  const sql = postgres(url, { onnotice: () => {}, types: { bigint: { to: 20, from: [20], serialize: String, parse: Number } } });
  return {
    url,
    sql: sql as unknown as postgres.Sql,
    async drop() {
      await sql.end({ timeout: 5 });
      const dropping = postgres(server, { max: 1, onnotice: () => {} });
      await dropping.unsafe(`drop database if exists ${name} with (force)`);
      await dropping.end();
    },
  };
}

async function ensureTemplate(admin: postgres.Sql, server: string): Promise<void> {
  const [existing] = await admin`select from pg_database where datname = ${template}`;
  if (!existing) await admin.unsafe(`create database ${template}`);
  await migrate({ url: databaseUrl(server, template) });
}

export function databaseUrl(server: string, name: string): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}
