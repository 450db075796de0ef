import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CsvRow, importCsv, insertRows, pieceBytes } from '../../examples/demo/csv-import.ts';
import { openCsv, readFilms, someFilms } from '../../examples/demo/films.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const films = readFilms();
let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase({ migrated: false });
  await database.sql`create table films (id bigint generated always as identity, "Title" text, "Year" text, "Director" text, "Description" text)`;
});
afterAll(() => database?.drop());

async function importInMemory(csv: Readable): Promise<CsvRow[][]> {
  const statements: CsvRow[][] = [];
  const told = await importCsv(csv, async (rows) => void statements.push(rows));
  expect(told).toEqual({ rows: statements.flat().length, statements: statements.length });
  return statements;
}

test.each([undefined, 2000])('each 0.1 MB of the CSV is one statement (rows: %s)', async (rows) => {
  let bytes = 0;
  for await (const piece of openCsv(films, rows)) bytes += Buffer.byteLength(piece);
  const statements = await importInMemory(openCsv(films, rows));
  expect(statements).toHaveLength(Math.ceil(bytes / pieceBytes));
  expect(statements.flat()).toEqual([...someFilms(films, rows ?? films.length)]);
});

test('a statement begins only when the one before has ended', async () => {
  let running = 0;
  const { statements } = await importCsv(openCsv(films, 2000), async () => {
    running += 1;
    expect(running).toBe(1);
    await sleep(5);
    running -= 1;
  });
  expect(statements).toBeGreaterThan(3);
});

test('quotes, commas, line breaks, unicode and leading zeros reach the table as they were', async () => {
  const title = `"So, she said", 'it''s' \\ 映画 🎬 café ${'é'.repeat(60_000)}`;
  const csv = `Title,Year,Description\r\n"${title.replaceAll('"', '""')}",0007,"two\nlines"\r\nEmpty,,\r\n`;
  const bytes = Buffer.from(csv);
  const cut = [bytes.subarray(0, pieceBytes), bytes.subarray(pieceBytes)];
  const stream = Readable.from(cut, { objectMode: false });
  stream.setEncoding('utf8');
  await importCsv(stream, (rows) => insertRows(database.sql, 'films', rows));
  expect([...(await database.sql`select "Title", "Year", "Description" from films order by id`)]).toEqual([
    { Title: title, Year: '0007', Description: 'two\nlines' },
    { Title: 'Empty', Year: null, Description: null },
  ]);
});

test('a statement that fails ends the import, and nothing comes after it', async () => {
  let statements = 0;
  const csv = openCsv(films, 2000);
  const importing = importCsv(csv, async () => {
    statements += 1;
    if (statements === 2) throw new Error('the disk is full');
  });
  await expect(importing).rejects.toThrow('the disk is full');
  await sleep(20);
  expect(statements).toBe(2);
  expect(csv.destroyed).toBe(true);
});

test('a CSV that is broken is refused with the row', async () => {
  const csv = Readable.from(['Title,Year\r\nOne,1999,too much\r\n']);
  await expect(importCsv(csv, async () => {})).rejects.toThrow(/broken near row 1/);
});
