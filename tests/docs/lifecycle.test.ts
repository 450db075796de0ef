import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readRooms, supabase } from '../../tools/sql/rooms.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const text = await readFile(new URL('../../docs/design/lifecycle.md', import.meta.url), 'utf8');
const rooms = (await readRooms(supabase)).filter(({ file }) => file.startsWith('schemas/functions/'));
const bodies = new Map(
  rooms.map((room) => [path.basename(room.file, '.sql'), room.text.replace(/--.*$/gm, '')]),
);

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

function section(title: string): string {
  const found = text.split(/^## /m).find((part) => part.startsWith(`${title}\n`));
  if (!found) throw new Error(`expected docs/design/lifecycle.md to have the section ${title}`);
  return found;
}

function arrowsOf(title: string) {
  return [...section(title).matchAll(/^ {2}(\S+) --> (\w+): (.+)$/gm)].map(([, from, to, names]) => ({
    from: from!,
    to: to!,
    functions: names!.split(', '),
  }));
}

/** The first cells of a section's table. */
function named(title: string): string[] {
  return [...section(title).matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]!);
}

/** A function and all that it calls, and so on. */
function withCalled(name: string, seen = new Set<string>()): Set<string> {
  const body = bodies.get(name);
  if (body === undefined || seen.has(name)) return seen;
  seen.add(name);
  for (const match of body.matchAll(/\browmill\.(\w+)\(/g)) withCalled(match[1]!, seen);
  return seen;
}

/** The states that a function itself writes into a table. */
function written(name: string, table: string, first: string): Set<string> {
  const body = bodies.get(name)!;
  const states = new Set<string>();
  if (new RegExp(`insert into rowmill\\.${table}\\b`).test(body)) states.add(first);
  const updates = new RegExp(
    `update rowmill\\.${table} as \\w+\\s+set\\b(.*?)\\n\\s*(?:from|where)\\b`,
    'gs',
  );
  for (const [, list] of body.matchAll(updates)) {
    for (const [, state, cases] of list!.matchAll(/\bstate = (?:'(\w+)'|case\b(.*?)\bend\b)/gs)) {
      if (state) states.add(state);
      for (const match of (cases ?? '').matchAll(/'(\w+)'/g)) states.add(match[1]!);
    }
  }
  return states;
}

describe.each([
  ['A chunk', 'chunks', 'waiting'],
  ['A batch', 'batch_processing_details', 'preparing'],
])('docs/design/lifecycle.md: %s', (title, table, first) => {
  it('has the states that the table may have, in the diagram and in the text', async () => {
    const [row] = await database.sql`
      select pg_get_constraintdef(c.oid) as text from pg_constraint as c
      where c.conrelid = ${`rowmill.${table}`}::text::regclass and c.conname like '%\\_state\\_is\\_known'`;
    const states = [...row!.text.matchAll(/'(\w+)'/g)].map((match: string[]) => match[1]!).sort();
    expect(states).toContain(first);
    const drawn = new Set(arrowsOf(title).flatMap(({ from, to }) => [from, to]));
    drawn.delete('[*]');
    expect([...drawn].sort()).toEqual(states);
    expect(named(title).sort()).toEqual(states);
  });

  it('names at each arrow functions that lead to its state', () => {
    const wrong = arrowsOf(title).flatMap(({ to, functions }) =>
      functions.filter((name) => ![...withCalled(name)].some((one) => written(one, table, first).has(to))),
    );
    expect(wrong).toEqual([]);
  });

  it('has an arrow for each function that writes a state', () => {
    const missing = [...bodies.keys()].flatMap((name) =>
      [...written(name, table, first)].flatMap((to) => {
        const arrows = arrowsOf(title).filter((arrow) => arrow.to === to);
        const isDrawn = arrows.some((arrow) => arrow.functions.some((one) => withCalled(one).has(name)));
        return isDrawn ? [] : [`${name} -> ${to}`];
      }),
    );
    expect(missing).toEqual([]);
  });
});

it('docs/design/lifecycle.md has every table in one line', async () => {
  const tables = await database.sql<{ name: string }[]>`
    select c.relname::text as name from pg_class as c
    where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('r', 'p')`;
  expect(named('The tables').sort()).toEqual(tables.map(({ name }) => name).sort());
});

it('docs/design/lifecycle.md names functions and jobs that are there', async () => {
  const names = [...text.matchAll(/`([a-z]+(?:_[a-z]+)+)`/g)].map((match) => match[1]!);
  const columns = await database.sql<{ name: string }[]>`
    select a.attname::text as name from pg_attribute as a join pg_class as c on c.oid = a.attrelid
    where c.relnamespace = 'rowmill'::regnamespace`;
  const known = new Set([...bodies.keys(), ...columns.map(({ name }) => name), ...named('The tables')]);
  expect(names.filter((name) => !known.has(name))).toEqual([]);
  const jobs = [...text.matchAll(/\bjob ([a-z-]+)/g)].map((match) => match[1]!);
  expect(jobs.length).toBeGreaterThan(0);
  for (const job of jobs) {
    await readFile(new URL(`../../src/jobs/${job}.ts`, import.meta.url), 'utf8');
  }
});
