import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Diagnosis } from '../../src/doctor/diagnosis.ts';
import { diagnose } from '../../src/doctor/doctor.ts';
import { ownChecks, type Surroundings } from '../../src/doctor/own-checks.ts';
import { writeDiagnoses } from '../../src/doctor/write-diagnoses.ts';
import { createOpenAiProvider } from '../../src/provider/openai.ts';
import { createPostgresTransport } from '../../src/store/postgres-transport.ts';
import type { Transport } from '../../src/store/transport.ts';
import { sendError, startFakeServer } from '../provider/fake-server.ts';
import { createDatabase } from '../support/database.ts';
import { FakeProvider } from '../support/fake-provider.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { createPgNetDatabase } from '../support/pg-net.ts';
import { startPostgrest } from '../support/postgrest.ts';
import { ingestSecret, settled, startWorld, type World } from '../support/service.ts';

const root = path.join(import.meta.dirname, '../..');

describe('npm run doctor', () => {
  let world: World;
  let transport: Transport;
  beforeAll(async () => {
    world = await startWorld({ database: await createPgNetDatabase() });
    transport = createPostgresTransport({ url: world.databaseUrl, maxConnections: 1 });
    await world.sql`select rowmill.set_endpoint(${world.service.url}, ${ingestSecret})`;
    await createFilmsPipeline(world.sql, { flushAfter: '0 seconds' });
    await world.sql`insert into films (title) select 'Film ' || n from generate_series(1, 20) as n`;
    await settled(world.sql, 'films');
  });
  afterAll(async () => {
    await transport.close(1000);
    await world.stop();
  });

  /** Runs the command as npm does; resolves with how it ended. */
  function run(env: Record<string, string>): Promise<{ code: number; output: string }> {
    return new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        ['src/server.ts', 'doctor'],
        { cwd: root, env: { PATH: process.env.PATH, DATABASE_URL: world.databaseUrl, ...env } },
        (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, output: stdout + stderr }),
      );
    });
  }
  async function look(surroundings: Partial<Surroundings>, check: string): Promise<Diagnosis> {
    const rows = await diagnose(transport, { provider: null, ingestSecret: undefined, ...surroundings });
    return rows.find((row) => row.check === check)!;
  }
  const verdicts = (rows: Diagnosis[]) => Object.fromEntries(rows.map((row) => [row.check, row.verdict]));

  it('finds nothing to mend where a worker runs and posts arrive, and waits for them', async () => {
    const provider = createOpenAiProvider({ apiKey: 'test', baseURL: world.simulator.url });
    const rows = await diagnose(transport, { provider, ingestSecret });
    const { cron, ...rest } = verdicts(rows);
    // There is no pg_cron here, and a worker ticks.
    expect(cron).toBe('note');
    expect(Object.entries(rest).filter(([, verdict]) => verdict !== 'ok')).toEqual([]);
    expect(rows).toHaveLength(20 + ownChecks.length);
  });

  it('prints a table that fits into 100 columns, with no secret in it, and ends with 0', async () => {
    const key = 'sk-a-secret-word';
    const { code, output } = await run({
      ...{ OPENAI_API_KEY: key, OPENAI_BASE_URL: world.simulator.url, ROWMILL_INGEST_SECRET: ingestSecret },
    });
    expect({ code, output }).toMatchObject({ code: 0 });
    const lines = output.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^migrations {5}ok {7}applied: rowmill_\d+_\d+_\d+/);
    expect(lines.at(-1)).toBe('25 checks: 1 note. docs/doctor.md explains each.');
    expect(lines.filter((line) => line.length > 100)).toEqual([]);
    expect(output).toMatch(/^cron {11}note {5}.*\n {24}-> select rowmill.schedule\(\)/m);
    for (const secret of [key, ingestSecret, ingestSecret.slice(6)]) expect(output).not.toContain(secret);
  });

  it('says the same over the Data API alone, and what to set where there is neither', async () => {
    const api = await startPostgrest({ databaseUrl: world.databaseUrl });
    try {
      const { code, output } = await run({
        ...{ DATABASE_URL: '', SUPABASE_URL: api.url, SUPABASE_SERVICE_ROLE_KEY: api.serviceKey },
        ...{ ROWMILL_INGEST_SECRET: ingestSecret },
      });
      expect({ code, output }).toMatchObject({ code: 0 });
      expect(output).toMatch(/^large post {5}ok/m);
      expect(output).toMatch(/^own secret {5}ok/m);
      expect(output).not.toMatch(/^encoding/m);
      expect(output).not.toContain(api.serviceKey);
    } finally {
      await api.close();
    }
    const { code, output } = await run({ DATABASE_URL: '' });
    expect(code).toBe(1);
    expect(output).toBe(
      'npm run doctor needs DATABASE_URL, or SUPABASE_URL with SUPABASE_SERVICE_ROLE_KEY\n',
    );
  });

  it('ends with 1 where there is a fault', async () => {
    const { code, output } = await run({
      ROWMILL_INGEST_SECRET: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
    });
    expect(code).toBe(1);
    expect(output).toMatch(/^own secret {5}fault {4}ROWMILL_INGEST_SECRET is not the one/m);
    expect(output).toMatch(/^provider call {2}note {5}OPENAI_API_KEY is not set/m);
  });

  it('says which migrations of its own are missing, with a doctor in the database and without', async () => {
    const [last] = await world.sql`delete from supabase_migrations.schema_migrations returning version, name`;
    expect(await look({}, 'migrations')).toEqual({
      check: 'migrations',
      verdict: 'fault',
      found: `1 of this version's are missing, from ${last!.version} on`,
      remedy: 'npm run migrate',
    });
    await world.sql`insert into supabase_migrations.schema_migrations ${world.sql(last!)}`;
    expect(await look({}, 'migrations')).toMatchObject({ verdict: 'ok' });

    const empty = await createDatabase({ migrated: false });
    const toEmpty = createPostgresTransport({ url: empty.url, maxConnections: 1 });
    try {
      const rows = await diagnose(toEmpty, { provider: null, ingestSecret });
      expect(rows.map((row) => row.check)).toEqual(['migrations', ...ownChecks]);
      expect(rows[0]).toMatchObject({ verdict: 'fault', found: expect.stringContaining(last!.version) });
    } finally {
      await toEmpty.close(1000);
      await empty.drop();
    }
  });

  it('says that the database cannot store every text, and what to do', async () => {
    expect(await look({}, 'encoding')).toMatchObject({ verdict: 'ok', found: 'UTF8' });
    const latin = await createDatabase({ encoding: 'LATIN1' });
    const toLatin = createPostgresTransport({ url: latin.url, maxConnections: 1 });
    try {
      const rows = await diagnose(toLatin, { provider: null, ingestSecret });
      expect(rows.find((row) => row.check === 'encoding')).toMatchObject({
        verdict: 'fault',
        found: 'the database has encoding LATIN1; Rowmill needs UTF8',
        remedy: expect.stringContaining("encoding 'UTF8' template template0"),
      });
    } finally {
      await toLatin.close(1000);
      await latin.drop();
    }
  });

  it('says that the database is read-only, what lifts that, and all the rest', async () => {
    expect(await look({}, 'writes')).toMatchObject({ verdict: 'ok' });
    const readOnly = `${world.databaseUrl}?default_transaction_read_only=on`;
    await world.sql`delete from rowmill.pings`;
    const { code, output } = await run({ DATABASE_URL: readOnly, ROWMILL_INGEST_SECRET: ingestSecret });
    expect(code).toBe(1);
    expect(output).toMatch(/^writes {9}fault {4}default_transaction_read_only is on/m);
    expect(output).toContain('-> In Supabase: free disk space');
    expect(output).toMatch(/^small post {5}note/m);
    expect(output).toMatch(/^own secret {5}ok/m);
  });

  it('says that the database is a standby', async () => {
    const standby: Transport = { ...transport, writability: async () => 'standby' };
    const rows = await diagnose(standby, { provider: null, ingestSecret: undefined });
    expect(rows.find((row) => row.check === 'writes')).toMatchObject({
      verdict: 'fault',
      remedy: expect.stringContaining('primary'),
    });
  });

  it.each([
    [401, 'invalid_api_key', 'fault', /refuses the key \(401\)/],
    [403, 'unsupported_country', 'fault', /refuses the key \(403\)/],
    [500, null, 'warning', /answers with 500/],
  ] as const)('asks the provider, which says %i', async (status, code, verdict, found) => {
    const server = await startFakeServer((_request, response) => sendError(response, status, code));
    const provider = createOpenAiProvider({ apiKey: 'sk-a-secret-word', baseURL: server.url });
    const row = await look({ provider }, 'provider call');
    await server.close();
    expect(row).toMatchObject({ verdict, found: expect.stringMatching(found) });
    expect(server.seen[0]).toMatchObject({ method: 'GET', path: '/v1/batches' });
    expect(server.seen[0]!.query.get('limit')).toBe('1');
  });

  it('says that the provider is out of reach', async () => {
    const gone = await startFakeServer(() => {});
    await gone.close();
    const provider = createOpenAiProvider({ apiKey: 'x', baseURL: gone.url });
    expect(await look({ provider }, 'provider call')).toMatchObject({
      verdict: 'fault',
      found: expect.stringContaining('ECONNREFUSED'),
      remedy: expect.stringContaining('OPENAI_BASE_URL'),
    });
  });

  it('does not wait for a provider that never answers', async () => {
    const provider = new FakeProvider();
    provider.before.check = () => new Promise<void>(() => {});
    expect(await look({ provider, providerPatienceMs: 100 }, 'provider call')).toMatchObject({
      verdict: 'fault',
      found: 'fake is out of reach: no answer within 0.1 s',
    });
  });

  it.each([
    [45_000, 'ahead of'],
    [-45_000, 'behind'],
  ])('finds this machine’s clock %i ms off', async (offMs, where) => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + offMs });
    try {
      expect(await look({}, 'own clock')).toMatchObject({
        verdict: 'warning',
        found: expect.stringMatching(new RegExp(`(44|45|46) s ${where} the database's`)),
      });
    } finally {
      vi.useRealTimers();
    }
  });

  it('says where this machine has no secret, and where the database has none', async () => {
    expect(await look({}, 'own secret')).toMatchObject({ verdict: 'note' });
    await world.sql`update rowmill.secrets set value = 'nonsense'`;
    expect(await look({ ingestSecret }, 'own secret')).toMatchObject({
      verdict: 'note',
      remedy: 'See secret.',
    });
    await world.sql`delete from rowmill.secrets`;
    expect(await look({ ingestSecret }, 'own secret')).toMatchObject({ verdict: 'note' });
    await world.sql`select rowmill.set_endpoint(${world.service.url}, ${ingestSecret})`;
    expect(await look({ ingestSecret }, 'own secret')).toMatchObject({ verdict: 'ok' });
  });
});

it('a long finding is broken between words, and its remedy stands below', () => {
  const text = writeDiagnoses([
    { check: 'small post', verdict: 'fault', found: 'word '.repeat(40).trim(), remedy: 'mend '.repeat(30) },
    { check: 'queue', verdict: 'ok', found: 'nothing', remedy: null },
  ]);
  const lines = text.split('\n');
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(lines[0]).toMatch(/^small post {2}fault {4}word/);
  expect(lines[1]).toMatch(/^ {21}word/);
  expect(lines.find((line) => line.includes('->'))).toMatch(/^ {21}-> mend/);
  expect(text.match(/word/g)).toHaveLength(40);
  expect(text).toContain('2 checks: 1 fault. ');
});

it('docs/doctor.md explains every check, in their order', async () => {
  const database = await createDatabase();
  try {
    const [row] = await database.sql`select rowmill.doctor_checks() as checks`;
    const text = await readFile(path.join(root, 'docs/doctor.md'), 'utf8');
    const table = text.slice(text.indexOf('| check '));
    const explained = [...table.matchAll(/^\| `([^`]+)` +\|/gm)].map((match) => match[1]);
    expect(explained).toEqual([...row!.checks, ...ownChecks]);
  } finally {
    await database.drop();
  }
});
