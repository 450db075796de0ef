import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { ensureSupabaseOwner } from '../tests/support/supabase-owner.ts';
import { advise, type Finding, lintFunctions, lintTriggers } from './lint-findings.ts';
import { runLintWorkload } from './lint-workload.ts';
import { supabase } from './supabase-cli.ts';

const usage = `usage: SUPABASE_CLI=<path> npm run lint:db -- --server URL | --url URL [--admin URL]
  Migrates an empty database with the Supabase CLI, works with it, and has Supabase's linters look at it. Any finding, at
  any level, is a failure.
  --server URL  a server, as a superuser: Supabase's roles and a database are made there, and the database dropped again
  --url URL     an empty database on a server that has Supabase's roles, as its owner; it becomes a place for lint alone
  --admin URL   the same database as a superuser, where its owner may not create extension plpgsql_check`;

const { values } = parseArgs({
  options: {
    server: { type: 'string' },
    url: { type: 'string' },
    admin: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help || (values.server === undefined) === (values.url === undefined)) {
  process.stdout.write(`${usage}\n`);
  process.exit(values.help ? 0 : 1);
}
const place = values.server === undefined ? null : await makePlace(values.server);
const { url, admin } = place ?? { url: values.url!, admin: values.admin ?? values.url! };

/**
 * Flaws that each check must see: a linter that looked at nothing would find nothing, too. `isOne` tells them from
 * findings that count.
 */
const canaries = {
  sql: `
    create table rowmill.lint_canary (a integer);
    create function rowmill.lint_canary_function() returns integer language plpgsql as $$
    begin
      return (select nothing from rowmill.lint_canary);
    end;
    $$;
    create function rowmill.lint_canary_trigger() returns trigger language plpgsql as $$
    begin
      return new.nothing;
    end;
    $$;
    create trigger lint_canary after insert on rowmill.lint_canary for each row execute function rowmill.lint_canary_trigger()`,
  isOne: (finding: Finding) => `${finding.where} ${finding.what}`.includes('lint_canary'),
};

const sql = postgres(url, { max: 2, onnotice: () => {} });
try {
  await prepare();
  say('a workload, so that everything has been used …');
  await runLintWorkload(sql as unknown as postgres.Sql, url);
  await sql.unsafe(canaries.sql);
  const findings = [
    ...(await look('db lint', () => lintFunctions(url))),
    ...(await look('trigger functions', () => lintTriggers(sql as unknown as postgres.Sql))),
    ...(await look('db advisors', () => advise(url))),
  ];
  for (const { where, what } of findings) process.stdout.write(`${where}: ${what}\n`);
  say(findings.length === 0 ? 'nothing found' : `${findings.length} findings`);
  process.exitCode = findings.length === 0 ? 0 : 1;
} finally {
  await sql.end({ timeout: 5 });
  await place?.drop();
}

async function makePlace(server: string) {
  const owner = await ensureSupabaseOwner(server);
  const name = `rowmill_lint_${randomBytes(6).toString('hex')}`;
  const asSuperuser = async (statement: string) => {
    const superuser = postgres(server, { max: 1, onnotice: () => {} });
    await superuser.unsafe(statement).finally(() => superuser.end({ timeout: 5 }));
  };
  await asSuperuser(`create database ${name} owner ${new URL(owner).username}`);
  const at = (there: string) => Object.assign(new URL(there), { pathname: `/${name}` }).href;
  const drop = () => asSuperuser(`drop database ${name} with (force)`);
  return { url: at(owner), admin: at(server), drop };
}

async function prepare(): Promise<void> {
  const [found] = await sql`select to_regnamespace('rowmill') is not null as is_there`;
  if (found!.is_there)
    throw new Error('expected an empty database, came one with a schema rowmill; name another');
  const [database] = await sql`select current_database() as name`;
  const name = sql(database!.name);
  // Tables of a lint are small: Postgres would read them from end to end and leave every index unused. What stays unused
  // all the same, no query can use.
  await sql`alter database ${name} set enable_seqscan = off`;
  await sql`alter database ${name} set jit = off`;
  // As on Supabase; the linter is called without its schema's name.
  await sql`alter database ${name} set search_path = "$user", public, extensions`;
  await sql`create schema if not exists extensions`;
  const superuser = postgres(admin, { max: 1, onnotice: () => {} });
  try {
    await superuser`create extension if not exists plpgsql_check schema extensions`;
  } finally {
    await superuser.end({ timeout: 5 });
  }
  say('supabase db push …');
  await supabase('db', 'push', '--include-seed', `--remote=${url}`);
}

async function look(what: string, check: () => Promise<Finding[]>): Promise<Finding[]> {
  const findings = await check();
  const others = findings.filter((finding) => !canaries.isOne(finding));
  if (others.length === findings.length) {
    throw new Error(
      `expected ${what} to see the flaws that were put there, came none of them; it looks at nothing`,
    );
  }
  say(`${what}: ${others.length} findings`);
  return others;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
