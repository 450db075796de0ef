import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject } from 'vitest';
import { databaseUrl, type TestDatabase } from './database.ts';

/** An empty database whose encoding is another one than UTF8, of the role that owns what `createDatabase` makes. */
export async function createEncodedDatabase(encoding: string): Promise<TestDatabase> {
  const server = inject('databaseUrl');
  const owner = inject('ownerUrl');
  const name = `rowmill_test_${randomBytes(6).toString('hex')}`;
  const asAdmin = async (statement: string) => {
    const admin = postgres(server, { max: 1, onnotice: () => {} });
    await admin.unsafe(statement).finally(() => admin.end({ timeout: 5 }));
  };
  const whose = owner === null ? '' : `owner ${new URL(owner).username}`;
  await asAdmin(`create database ${name} encoding '${encoding}' locale 'C' template template0 ${whose}`);
  const url = databaseUrl(owner ?? server, name);
  const sql = postgres(url, { onnotice: () => {} }) as unknown as postgres.Sql;
  return {
    url,
    sql,
    async drop() {
      await sql.end({ timeout: 5 });
      await asAdmin(`drop database if exists ${name} with (force)`);
    },
  };
}
