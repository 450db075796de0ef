import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readRooms, supabase } from '../../tools/sql/rooms.ts';
import { generated } from '../support/catalog.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const rooms = (await readRooms(supabase)).map((room) => ({
  ...room,
  name: path.basename(room.file, '.sql'),
  lines: room.text.trimEnd().split('\n'),
}));
const under = (folder: string) => rooms.filter(({ file }) => file.startsWith(`schemas/${folder}/`));
const functions = under('functions');
const tables = under('tables');

/** A literal of one or several parts, each on a line of its own. */
const literal = String.raw`'(?:[^']|'')*'(?:\n\s*'(?:[^']|'')*')*`;

/** All that a function's room may hold, in this order; the body is dollar-quoted. */
function shapeOf(name: string): RegExp {
  return new RegExp(
    [
      String.raw`^-- API: (?:public|worker|internal)\n`,
      String.raw`create or replace function rowmill\.${name}\((?:(?!\$\w*\$).)*\nas (\$\w*\$)\n(?:(?!\1).)*\n\1;\n`,
      String.raw`comment on function rowmill\.${name} is\s+${literal};\n`,
      String.raw`revoke all on function rowmill\.${name} from public;\n$`,
    ].join(''),
    's',
  );
}

describe('a room of a function', () => {
  it.each(functions)('is its mark, its body, its comment and its revoke: $file', ({ name, text }) => {
    expect(text).toMatch(shapeOf(name));
    expect(text.match(/^create /gm)).toHaveLength(1);
  });

  it.each([
    ['a missing mark', (text: string) => text.replace('-- API: internal\n', '')],
    ['an unknown mark', (text: string) => text.replace('API: internal', 'API: private')],
    ['another name', (text: string) => text.replace('function rowmill.ago(', 'function rowmill.ago2(')],
    ['a plain create', (text: string) => text.replace('create or replace', 'create')],
    ['a missing comment', (text: string) => text.replace(/comment on .*?;\n/s, '')],
    ['a missing revoke', (text: string) => text.replace(/revoke .*\n/, '')],
    [
      'the revoke before the comment',
      (text: string) => text.replace(/(comment on .*?;\n)(revoke .*?;\n)/s, '$2$1'),
    ],
    ['a grant besides', (text: string) => `${text}grant execute on function rowmill.ago to public;\n`],
    ['a statement before', (text: string) => `select 1;\n${text}`],
    [
      'a list of arguments',
      (text: string) => text.replace('rowmill.ago from', 'rowmill.ago(timestamptz) from'),
    ],
  ])('is seen to have %s', (_, flaw) => {
    const { text } = functions.find(({ name }) => name === 'ago')!;
    expect(text).toMatch(shapeOf('ago'));
    expect(flaw(text)).not.toBe(text);
    expect(flaw(text)).not.toMatch(shapeOf('ago'));
  });

  it('has at most 80 lines, and half of them fewer than 30', () => {
    // From "create" to the end of the body.
    const sizes = functions.map(({ file, lines }) => ({ file, size: lines.lastIndexOf('$$;') }));
    expect(sizes.filter(({ size }) => size > 80 || size < 3)).toEqual([]);
    const lengths = sizes.map(({ size }) => size).sort((a, b) => a - b);
    expect(lengths[Math.floor(lengths.length / 2)]).toBeLessThan(30);
  });
});

it('no line has more than 140 characters', () => {
  const long = rooms.flatMap(({ file, lines }) =>
    lines.flatMap((line, at) => (line.length > 140 ? [`${file}:${at + 1}: ${line.length}`] : [])),
  );
  expect(long).toEqual([]);
});

it.each(tables)('a room of a table makes it as it is, and alters nothing: $file', ({ name, text }) => {
  const made = [...text.matchAll(/^create table (\S+) /gm)].map((match) => match[1]);
  expect(made).toEqual([`rowmill.${name}`]);
  const altered = [...text.matchAll(/^\s*(alter .*)$/gm)].map((match) => match[1]);
  expect(altered).toEqual([`alter table rowmill.${name} enable row level security;`]);
  expect(text).not.toMatch(/^\s*drop /m);
});

it.each([...under('types'), ...under('views')])(
  'a room of a type or a view makes it alone: $file',
  ({ name, text }) => {
    const made = [...text.matchAll(/^(create .*|alter .*|drop .*)$/gm)].map((match) => match[1]!);
    expect(made).toHaveLength(1);
    expect(made[0]).toMatch(new RegExp(`^create (?:type|or replace view) rowmill\\.${name} `));
  },
);

describe('the catalog has one room for each', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase();
  });
  afterAll(() => database.drop());

  const names = (some: { name: string }[]) => some.map(({ name }) => name).sort();

  it('function, and no overloads', async () => {
    const rows = await database.sql<{ name: string }[]>`
      select p.proname::text as name from pg_proc as p
      where p.pronamespace = 'rowmill'::regnamespace and p.proname !~ ${generated}`;
    expect(names(rows)).toEqual(names(functions));
  });

  it.each([
    ['table', ['r', 'p'], 'tables'],
    ['view', ['v', 'm'], 'views'],
    ['type', ['c'], 'types'],
  ])('%s', async (_, kinds, folder) => {
    const rows = await database.sql<{ name: string }[]>`
      select c.relname::text as name from pg_class as c
      where c.relnamespace = 'rowmill'::regnamespace and c.relkind::text = any (string_to_array(${kinds.join()}, ','))`;
    expect(names(rows)).toEqual(names(under(folder)));
  });
});
