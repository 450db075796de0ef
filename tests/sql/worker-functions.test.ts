import { glob, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { casts } from '../../src/store/postgres-transport.ts';
import { readRooms, supabase } from '../../tools/sql/rooms.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { workerFunctionsOf } from '../support/worker-functions.ts';

const project = path.join(supabase, '..');

let database: TestDatabase;
let listed: string[];
let called: string[];
beforeAll(async () => {
  database = await createDatabase();
  listed = await workerFunctionsOf(database.sql);
  called = await namesCalled();
});
afterAll(() => database.drop());

/** The functions that a worker calls by name, over its transport or in SQL, as its source has them. */
async function namesCalled(): Promise<string[]> {
  const names = new Set<string>();
  for await (const file of glob('src/**/*.ts', { cwd: project })) {
    const text = (await readFile(path.join(project, file), 'utf8')).replace(
      /\/\*\*.*?\*\/|^\s*\/\/.*?$/gms,
      '',
    );
    // `<Row>` may be an object type of several lines.
    const calls = /\b(?:transport\.(?:rows|value)|rows|claim|giveBack)(?:<[^()]*?>)?\(\s*'(\w+)'/g;
    for (const match of text.matchAll(calls)) names.add(match[1]!);
    for (const match of text.matchAll(/\b(?:from|select|to_regprocedure\(') *rowmill\.(\w+)\(/g))
      names.add(match[1]!);
  }
  return [...names].sort();
}

it('each name of the list of worker functions is one that is there', async () => {
  const room = (await readRooms(supabase)).find(
    ({ file }) => path.basename(file) === 'worker_functions.sql',
  )!;
  const body = /as \$\$.*?\$\$/s.exec(room.text)![0];
  const names = [...body.matchAll(/'(\w+)'/g)].map((match) => match[1]!).filter((name) => name !== 'rowmill');
  expect(names.sort()).toEqual(listed);
});

it('a room is marked as the worker’s where it is in the list, and nowhere else', async () => {
  const marked = (await readRooms(supabase)).flatMap((room) =>
    room.text.startsWith('-- API: worker\n') ? [path.basename(room.file, '.sql')] : [],
  );
  expect(marked.sort()).toEqual(listed);
});

it('privileges.golden grants the workers’ roles what is in the list, and nothing else', async () => {
  const golden = await readFile(path.join(import.meta.dirname, 'privileges.golden'), 'utf8');
  for (const role of ['rowmill_worker', 'service_role']) {
    const granted = [...golden.matchAll(/^function (\w+)\(.*\| (.*)$/gm)].filter((match) =>
      match[2]!.includes(`${role}: execute`),
    );
    expect(granted.map((match) => match[1]).sort(), role).toEqual(listed);
  }
});

it('the source calls all that is in the list, and besides only what an operator may call as the owner', async () => {
  const rooms = await readRooms(supabase);
  const isPublic = (name: string) =>
    rooms.some(
      ({ file, text }) => path.basename(file, '.sql') === name && text.startsWith('-- API: public\n'),
    );
  expect(called.filter((name) => !isPublic(name))).toEqual(listed);
});

it('the Postgres transport casts each argument that is JSON or an array, to the one type that it has in all worker functions', async () => {
  const rows = await database.sql<{ name: string; types: string[] }[]>`
    select a.name, array_agg(distinct format_type(a.type, null)) as types
    from rowmill.worker_functions() as w(oid)
    join pg_proc as p on p.oid = w.oid
    cross join lateral unnest(p.proargnames, coalesce(p.proargmodes, array_fill('i'::"char", array[p.pronargs])), coalesce(p.proallargtypes, p.proargtypes::oid[])) as a(name, mode, type)
    where a.mode in ('i', 'b', 'v')
    group by a.name`;
  const needed = rows.filter(({ types }) => types.some((type) => /^jsonb?$|\[\]$/.test(type)));
  const written = Object.entries(casts).map(([name, { type }]) => [name, [type]]);
  expect(Object.fromEntries(written)).toEqual(
    Object.fromEntries(needed.map(({ name, types }) => [name, types])),
  );
});
