import { styleText } from 'node:util';
import { dollars } from './cost.ts';
import { table } from './database.ts';
import type { Enriched, Missing, Status } from './status.ts';
import { formatTable } from './table.ts';
import { count, counted, wrap } from './text.ts';

const heading = (text: string) => ['', `  ${styleText('bold', text)}`];
const indent = (lines: string[]) => lines.map((line) => `  ${line}`);

export function sampleLines(rows: Enriched[], width: number): string[] {
  if (rows.length === 0) return [];
  const cells = rows.map((row) => [row.title, (row.categories ?? []).join(', '), row.summary ?? '']);
  return ['', ...indent(formatTable(['Title', 'categories', 'summary'], cells, [0.26, 0.24], width - 2))];
}

export type Numbers = {
  status: Status;
  total: number;
  chunks: number;
  statements: number;
  seconds: number;
  isSimulated: boolean;
};

export function numberLines(numbers: Numbers): string[] {
  const { status, total, chunks, statements, seconds, isSimulated } = numbers;
  const spent = status.spent_usd === null ? 'unknown' : dollars(Number(status.spent_usd));
  const rate = seconds > 0 ? count(Math.round(status.enriched / seconds)) : '–';
  const rows: [string, string][] = [
    ['rows', `${count(status.enriched)} of ${count(total)} enriched`],
    [
      'went as',
      `${counted(statements, 'INSERT')} → ${counted(chunks, 'chunk')} → ${counted(status.batches, 'batch', 'batches')}`,
    ],
    ['tokens', `${count(status.input_tokens)} in, ${count(status.output_tokens)} out`],
    ['cost', isSimulated ? `${spent} ${styleText('yellow', '(simulated, nothing was paid)')}` : spent],
    ['time', `${seconds.toFixed(1)} s, ${rate} rows/s`],
  ];
  return ['', ...rows.map(([name, value]) => `  ${styleText('dim', name.padEnd(9))}${value}`)];
}

/** Wrapped and not cut: a reason that ends in the middle is none. */
export function missingLines(missing: { count: number; rows: Missing[] }, width: number): string[] {
  const lines = missing.rows.flatMap((row) => wrap(`${row.id} ${row.title}: ${row.explanation}`, width - 4));
  const more = missing.count - missing.rows.length;
  return [
    '',
    `  ${styleText('red', `✘ ${counted(missing.count, 'row')} not enriched`)}`,
    ...lines.map((line) => `    ${line}`),
    ...(more > 0 ? [`    … and ${count(more)} more`] : []),
    "    select * from rowmill.row_failures where pipeline = 'movies';",
  ];
}

/** What to paste next; no line is longer than 80 columns take, since a wrapped one pastes badly. */
export function nextLines(psql: string, url: string): string[] {
  const sql = [
    [
      'Insert a film; a moment later it has its categories and a summary:',
      `insert into ${table} ("Title", "Description") values`,
      "  ('The Long Ferry', 'A captain finds a stowaway on her last ferry.');",
      'select "Title", categories, summary',
      `  from ${table} order by id desc limit 1;`,
    ],
    [
      'Edit one, and it goes round again:',
      `update ${table} set "Description" = 'Two robots fall in love.'`,
      '  where id = 1;',
      "select * from rowmill.why('movies', '1');",
    ],
    ['See how all of them stand:', 'select * from rowmill.pipeline_status;'],
  ];
  return [
    ...heading('Try next'),
    '',
    `    ${styleText('cyan', psql)}`,
    ...sql.flatMap(([why = '', ...lines]) => [
      '',
      `  ${styleText('dim', why)}`,
      ...lines.map((line) => `    ${styleText('cyan', line)}`),
    ]),
    '',
    `  ${styleText('dim', 'The worker:')}`,
    `    ${url}/docs`,
    `    ${url}/metrics`,
  ];
}
