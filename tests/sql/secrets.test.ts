import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { migrate } from '../../src/store/migrate.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { pgNetStub } from '../support/pg-net-stub.ts';
import { ingestSecret } from '../support/service.ts';
import { createFilms, createPipeline, insertFilms, problemOf, tick } from '../support/sql-factories.ts';
import { vaultStub } from '../support/vault-stub.ts';

const endpoint = 'http://127.0.0.1:8787';
const another = `whsec_${Buffer.from('another secret of 32 bytes ......').toString('base64')}`;

describe('the ingest secret', () => {
  let database: TestDatabase;
  let sql: TestDatabase['sql'];
  beforeEach(async () => {
    database = await createDatabase();
    sql = database.sql;
    await sql.unsafe(pgNetStub);
  });
  afterEach(() => database.drop());

  const inTable = async () => (await sql`select value from rowmill.secrets`).map((row) => row.value);
  const inVault = async () =>
    (
      await sql`select decrypted_secret as value from vault.decrypted_secrets where name = 'rowmill_ingest_secret'`
    ).map((row) => row.value);
  /** Verifies the last post with a secret. */
  const lastPostVerifies = async (secret: string) => {
    const [post] = await sql<{ headers: Record<string, string>; body: string }[]>`
      select headers, convert_from(body, 'UTF8') as body from net.http_request_queue order by id desc limit 1`;
    new Webhook(secret).verify(post!.body, post!.headers);
  };
  const post = async () => {
    await sql`select rowmill.post_signed('test', '{"a": 1}')`;
  };

  it('stands in rowmill.secrets where there is no Vault', async () => {
    await sql`select rowmill.set_endpoint(${endpoint}, ${ingestSecret})`;
    expect(await inTable()).toEqual([ingestSecret]);
    await post();
    await lastPostVerifies(ingestSecret);
  });

  describe('with Vault', () => {
    beforeEach(() => sql.unsafe(vaultStub));

    it('stands there and nowhere else', async () => {
      await sql`select rowmill.set_endpoint(${endpoint}, ${ingestSecret})`;
      expect(await inVault()).toEqual([ingestSecret]);
      expect(await inTable()).toEqual([]);
      await post();
      await lastPostVerifies(ingestSecret);
    });

    it('is changed in place', async () => {
      await sql`select rowmill.set_endpoint(${endpoint}, ${ingestSecret})`;
      await sql`select rowmill.set_endpoint(${endpoint}, ${another})`;
      expect(await inVault()).toEqual([another]);
      await sql`select rowmill.set_endpoint(${endpoint})`;
      await post();
      await lastPostVerifies(another);
    });

    it('may have been put there by hand', async () => {
      await sql`select vault.create_secret(${another}, 'rowmill_ingest_secret')`;
      const [row] = await sql`select rowmill.set_endpoint(${endpoint}) as says`;
      expect(row!.says).toBe(`chunks are posted to ${endpoint}/v1/chunks`);
      await post();
      await lastPostVerifies(another);
    });

    it('that Vault cannot decrypt any more holds up posts alone, and the pipeline says so', async () => {
      await sql`select rowmill.set_endpoint(${endpoint}, ${ingestSecret})`;
      await createFilms(sql);
      await createPipeline(sql, { flush_after: '0 seconds' });
      await sql`update vault.secrets set secret = '%'`;
      await insertFilms(sql, 1, 3);
      await tick(sql);
      expect(await sql`select row_count from rowmill.chunks`).toEqual([{ row_count: 3 }]);
      expect(await problemOf(sql, 'films')).toMatch(/could not be posted/);
      await insertFilms(sql, 4, 5);
      const [row] = await sql`select rowmill.flush('films') as formed`;
      expect(row!.formed).toBe(1);
    });
  });

  it('in the table serves until set_endpoint moves it into a Vault that came later', async () => {
    await sql`select rowmill.set_endpoint(${endpoint}, ${ingestSecret})`;
    await sql.unsafe(vaultStub);
    await post();
    await lastPostVerifies(ingestSecret);
    await sql`select rowmill.set_endpoint(${endpoint}, ${ingestSecret})`;
    expect(await inTable()).toEqual([]);
    await post();
    await lastPostVerifies(ingestSecret);
  });

  it('of an owner to whom Vault is closed stands in the table', async () => {
    const role = `closed_${randomBytes(4).toString('hex')}`;
    const name = `rowmill_test_${role}`;
    await sql.unsafe(`create role ${role} login password '${role}'`);
    await sql.unsafe(`grant ${role} to current_user`);
    await sql.unsafe(`create database ${name} owner ${role} template template0`);
    const admin = postgres(databaseUrl(database.url, name), { max: 1, onnotice: () => {} });
    try {
      await admin.unsafe(vaultStub + pgNetStub);
      await admin.unsafe(
        'grant usage on schema net to public; grant all on all tables in schema net to public',
      );
      await admin.unsafe('grant usage on all sequences in schema net to public');
      const url = new URL(databaseUrl(database.url, name));
      url.username = role;
      url.password = role;
      await migrate({ url: url.href });
      await admin.unsafe(`set role ${role}`);
      await admin`select rowmill.set_endpoint(${endpoint}, ${ingestSecret})`;
      expect(await admin`select value from rowmill.secrets`).toEqual([{ value: ingestSecret }]);
      await admin`select rowmill.post_signed('test', '{}')`;
      expect(await admin`select from net.http_request_queue`).toHaveLength(1);
    } finally {
      await admin.end();
      await sql.unsafe(`drop database ${name} with (force)`);
      await sql.unsafe(`drop role ${role}`);
    }
  });
});
