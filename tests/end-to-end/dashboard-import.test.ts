import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pipeline as copy } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { importCsv, insertRows, pieceBytes } from '../../examples/demo/csv-import.ts';
import { openCsv, readFilms, someFilms } from '../../examples/demo/films.ts';
import { type Postgrest, startPostgrest } from '../support/postgrest.ts';
import { settled, startWorld, type World } from '../support/service.ts';

const inFlight = 10;
const createTable = `
  create table public.imdb_dataset (id bigint generated always as identity primary key,
    "Title" text, "Year" text, "Director" text, "Description" text, categories text[], summary text)`;
const createPipeline = `
  select rowmill.create_pipeline(name => 'movies', source => 'public.imdb_dataset', instructions => null,
    prompt => E'Title: {{Title}}\\nDescription: {{Description}}', outputs => array['categories', 'summary'],
    model => 'gpt-4o-mini', flush_after => '1 second')`;

describe('rows that come through Supabase', () => {
  let world: World;
  beforeEach(async () => {
    world = await startWorld();
    await world.sql.unsafe(createTable);
    await world.sql.unsafe(createPipeline);
  });
  afterEach(() => world.stop());

  /** Every row with an answer of its own, and each asked for once. */
  async function expectEnriched(count: number): Promise<void> {
    const { sql, simulator } = world;
    await settled(sql, 'movies', 150_000);
    const [rows] = await sql`
      select count(*)::integer as all, (count(*) filter (where summary like "Title" || ':%' and categories is not null))::integer as right
      from imdb_dataset`;
    expect(rows).toEqual({ all: count, right: count });
    expect(simulator.ledger.summary()).toMatchObject({ executed: count, repeatedPrompts: 0 });
    expect(await sql`select * from rowmill.row_failures`).toEqual([]);
    expect(await sql`select * from rowmill.trigger_errors`).toEqual([]);
  }

  it('a CSV file of 100,000 rows, imported as the dashboard does it, ends enriched, each row paid for once', async () => {
    const count = 100_000;
    const films = readFilms();
    const inputs = new Set<string>();
    for (const film of someFilms(films, count)) inputs.add(`${film.Title}\n${film.Description}`);
    // Rows with the same input would share a request.
    expect(inputs.size).toBe(count);

    const directory = await mkdtemp(path.join(tmpdir(), 'rowmill-csv-'));
    try {
      const file = path.join(directory, 'films.csv');
      await copy(openCsv(films, count), createWriteStream(file));
      // Ten statements are sent together, and the next ten when all of them are done.
      const waiting: Parameters<typeof insertRows>[2][] = [];
      const rounds: number[] = [];
      const send = async () => {
        const together = waiting.splice(0);
        rounds.push(together.length);
        await Promise.all(together.map((rows) => insertRows(world.sql, 'imdb_dataset', rows)));
      };
      const told = await importCsv(
        createReadStream(file, { encoding: 'utf8', highWaterMark: pieceBytes }),
        async (rows) => {
          waiting.push(rows);
          if (waiting.length === inFlight) await send();
        },
      );
      await send();
      expect(told.rows).toBe(count);
      expect(told.statements).toBeGreaterThan(200);
      expect(rounds.length).toBe(Math.floor(told.statements / inFlight) + 1);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
    await expectEnriched(count);
  }, 240_000);

  describe('over its Data API', () => {
    let api: Postgrest;
    const roles = ['anon', 'authenticated'];
    beforeEach(async () => {
      await world.sql.unsafe(`
        alter table public.imdb_dataset enable row level security;
        grant insert on public.imdb_dataset to anon, authenticated;
        create policy anyone_inserts on public.imdb_dataset for insert to anon, authenticated with check ("Title" is not null)`);
      api = await startPostgrest({ databaseUrl: world.databaseUrl });
    });
    afterEach(() => api.close());

    const ask = async (
      key: string,
      pathname: string,
      options: { method?: string; body?: unknown; schema?: string } = {},
    ) => {
      const { method = 'POST', body = {}, schema = 'public' } = options;
      const profile = method === 'GET' ? 'accept-profile' : 'content-profile';
      const response = await fetch(`${api.url}/rest/v1/${pathname}`, {
        method,
        headers: { apikey: key, authorization: `Bearer ${key}`, [profile]: schema },
        ...(method === 'GET' ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      return { status: response.status, code: text === '' ? null : (JSON.parse(text).code as string) };
    };

    it('500 inserts as anon and 500 as authenticated, some of several rows, end enriched', async () => {
      let rows = 0;
      const film = (role: string) => {
        rows += 1;
        return { Title: `Film ${rows} of ${role}`, Description: `Number ${rows}` };
      };
      const requests = roles.flatMap((role) =>
        Array.from({ length: 500 }, (_, at) => ({
          key: api.keyFor(role),
          body: at % 10 === 0 ? [film(role), film(role), film(role)] : film(role),
        })),
      );
      const rest = requests.values();
      const lane = async () => {
        for (const { key, body } of rest) {
          expect(await ask(key, 'imdb_dataset', { body })).toEqual({ status: 201, code: null });
        }
      };
      await Promise.all(Array.from({ length: inFlight }, lane));
      expect(rows).toBe(1200);
      // The policy holds, and what it lets in may not be seen.
      expect(await ask(api.anonKey, 'imdb_dataset', { body: { Title: null } })).toMatchObject({
        code: '42501',
      });
      expect(await ask(api.anonKey, 'imdb_dataset', { method: 'GET' })).toMatchObject({ code: '42501' });
      await expectEnriched(rows);
    });

    const functions = () => world.sql<
      { name: string; args: string[]; types: string[]; is_trigger: boolean }[]
    >`
      select p.proname as name, p.prorettype = 'trigger'::regtype or p.prorettype = 'event_trigger'::regtype as is_trigger,
        coalesce((select array_agg(coalesce(p.proargnames[a.at], '') order by a.at) from unnest(p.proargtypes::oid[]) with ordinality as a(type, at)), '{}') as args,
        coalesce((select array_agg(a.type::regtype::text order by a.at) from unnest(p.proargtypes::oid[]) with ordinality as a(type, at)), '{}') as types
      from pg_proc as p where p.pronamespace = 'rowmill'::regnamespace order by p.oid`;
    const relations = () => world.sql<{ name: string; kind: string }[]>`
      select c.relname as name, c.relkind::text as kind from pg_class as c
      where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S') order by c.oid`;

    it.each([
      ['as it is', ''],
      // As the guides say for a schema that is to be exposed.
      ['with usage of the schema granted', 'grant usage on schema rowmill to anon, authenticated'],
    ])(
      'anon and authenticated can see and call nothing of schema rowmill over SQL, %s',
      async (_what, grant) => {
        const { sql } = world;
        await sql.unsafe(grant);
        const refused = async (role: string, statement: string) => {
          const asked = sql.begin(async (tx) => {
            await tx.unsafe(`set local role ${role}`);
            await tx.unsafe(statement);
          });
          await expect(asked, `${role}: ${statement}`).rejects.toMatchObject({ code: '42501' });
        };
        const [all, tables] = [await functions(), await relations()];
        expect(all.length).toBeGreaterThan(100);
        expect(tables.length).toBeGreaterThan(15);
        for (const role of roles) {
          for (const { name, types, is_trigger } of all) {
            const [row] = await sql`
            select bool_or(has_function_privilege(${role}, p.oid, 'execute')) as may from pg_proc as p
            where p.pronamespace = 'rowmill'::regnamespace and p.proname = ${name}`;
            expect(row!.may, `${role}: ${name}`).toBe(false);
            // A trigger function is called by its trigger alone.
            if (is_trigger) continue;
            // No constants: a strict function of a null is not called at all, by whomever.
            const nulls = types.map((type) => `case when random() < 0 then null::${type} end`);
            await refused(role, `select rowmill.${name}(${nulls.join(', ')})`);
          }
          for (const { name, kind } of tables) {
            if (kind === 'S') {
              await refused(role, `select nextval('rowmill.${name}')`);
              continue;
            }
            await refused(role, `select from rowmill.${name}`);
            // Nobody writes into a view.
            if (kind === 'v') continue;
            await refused(role, `insert into rowmill.${name} default values`);
            await refused(role, `delete from rowmill.${name}`);
          }
        }
      },
    );

    it.each([
      ['exposed', ['public', 'rowmill'], ''],
      ['not exposed', ['public'], ''],
      [
        'exposed, with usage granted',
        ['public', 'rowmill'],
        'grant usage on schema rowmill to anon, authenticated',
      ],
    ])('nor over the Data API: the schema is %s', async (_what, exposed, grant) => {
      await world.sql.unsafe(grant);
      api.exposed = exposed;
      const isExposed = exposed.includes('rowmill');
      const schema = 'rowmill';
      const [all, tables] = [await functions(), await relations()];
      for (const role of roles) {
        const key = api.keyFor(role);
        const expected = isExposed
          ? { status: role === 'anon' ? 401 : 403, code: '42501' }
          : { status: 406, code: 'PGRST106' };
        for (const { name, args, is_trigger } of all) {
          const body = Object.fromEntries(args.map((arg) => [arg, null]));
          const told = await ask(key, `rpc/${name}`, { body, schema });
          const unknown = { status: 404, code: 'PGRST202' };
          expect(told, `${role}: ${name}`).toEqual(is_trigger && isExposed ? unknown : expected);
        }
        for (const { name, kind } of tables) {
          if (kind === 'S') continue;
          expect(await ask(key, name, { method: 'GET', schema }), `${role}: ${name}`).toEqual(expected);
          // Nobody writes into a view.
          if (kind === 'v') continue;
          expect(await ask(key, name, { body: {}, schema }), `${role}: ${name}`).toEqual(expected);
        }
      }
    });
  });
});
