import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import type { TestDatabase } from '../support/database.ts';

/** A role that may connect and nothing else, with a schema of its own, and a function there that notices whose rights it has. */
export type Stranger = {
  name: string;
  /** Its schema; everybody may use it. */
  schema: string;
  /** Sessions as this role, each with these settings; closed by `leave`. */
  connect(settings?: Record<string, string>): postgres.Sql;
  /** Whether code of it ran with the rights of Rowmill's owner; what a transaction took back counts, too. */
  ranAsOwner(): Promise<boolean>;
  leave(): Promise<void>;
};

/**
 * Makes one, with what is granted to it. `<schema>.ran()` returns true wherever it is called; a superuser, who is the owner in
 * most runs, could do anything in its place.
 */
export async function createStranger(database: TestDatabase, grants = ''): Promise<Stranger> {
  const { sql } = database;
  const name = `mallory_${randomBytes(6).toString('hex')}`;
  const sessions: postgres.Sql[] = [];
  const [row] = await sql`select current_user as owner`;
  // The owner may have to be a member to give things away to it; nobody's code is trusted by that.
  await sql.unsafe(`create role ${name} login password '${name}'; grant ${name} to current_user;
    create schema ${name} authorization ${name}; grant usage on schema ${name} to public`);
  if (grants !== '') await sql.unsafe(grants.replaceAll('$role', name));
  const connect = (settings: Record<string, string> = {}) => {
    const url = new URL(database.url);
    url.username = name;
    url.password = name;
    const client = postgres(url.href, { max: 1, onnotice: () => {}, connection: settings });
    sessions.push(client);
    return client;
  };
  await connect().unsafe(`
    create sequence ${name}.proofs;
    grant usage, select, update on sequence ${name}.proofs to public;
    create function ${name}.ran() returns boolean language plpgsql as $$
    begin
      if current_user = '${row!.owner}' then perform pg_catalog.nextval('${name}.proofs'); end if;
      return true;
    exception when others then return true;
    end $$;
    create function ${name}.touch() returns trigger language plpgsql as $$
    begin perform ${name}.ran(); return new; end $$;`);
  return {
    name,
    schema: name,
    connect,
    ranAsOwner: async () => {
      const [proof] = await sql.unsafe(`select is_called from ${name}.proofs`);
      return proof!.is_called;
    },
    leave: async () => {
      await Promise.all(sessions.map((session) => session.end({ timeout: 1 })));
      await sql.unsafe(`drop owned by ${name} cascade; drop role ${name}`);
    },
  };
}
