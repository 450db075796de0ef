import { readFile } from 'node:fs/promises';
import type postgres from 'postgres';
import { afterEach, expect, it } from 'vitest';
import { errorClasses } from '../../src/pipeline/error-classes.ts';
import { classOfCode, classOfStatus } from '../../src/pipeline/provider-codes.ts';
import { refusal, tick } from '../support/sql-factories.ts';
import { type OutcomeWorld, round, startOutcomeWorld } from './outcome-world.ts';

const text = await readFile(new URL('../../docs/outcomes.md', import.meta.url), 'utf8');

it('docs/outcomes.md has every error class with what the code says of it, and no other', () => {
  const yesOrNo = (is: boolean) => (is ? 'yes' : 'no');
  const documented = text.match(/^\| `\w+` \| .*\| (?:yes|no) \| .*$/gm);
  expect(documented).toEqual(
    Object.entries(errorClasses).map(
      ([name, { about, matches, retried, counted, remedy }]) =>
        `| \`${name}\` | ${about} | ${matches} | ${yesOrNo(retried)} | ${yesOrNo(counted)} | ${remedy} |`,
    ),
  );
});

it('the codes and statuses that the table names are the ones by which the code tells', () => {
  for (const [name, { matches }] of Object.entries(errorClasses)) {
    for (const part of matches.split('; ')) {
      for (const [, code] of part.startsWith('code ') ? part.matchAll(/`(\w+)`/g) : []) {
        expect([code, classOfCode(code!)]).toEqual([code, name]);
      }
      const statuses = /^status ([\d, ]+)(?: and above)?$/.exec(part)?.[1] ?? '';
      for (const status of statuses.match(/\d+/g) ?? [])
        expect([status, classOfStatus(Number(status))]).toEqual([status, name]);
    }
  }
});

it('docs/outcomes.md names the settings with the values that they have', async () => {
  world = await startOutcomeWorld();
  const [settings] = await world.sql`
    select extract(epoch from retry_after)::integer || ' seconds' as retry_after, breaker_pass_ratio, breaker_batches, breaker_rows from rowmill.settings`;
  const [pipeline] = await world.sql`select max_attempts from rowmill.pipelines`;
  const documented = (name: string) => new RegExp(`\`${name}\` \\(([^,)]+)`).exec(text)?.[1];
  for (const [name, value] of Object.entries(settings!))
    expect(documented(`settings\\.${name}`)).toBe(String(value));
  expect(documented('max_attempts')).toBe(String(pipeline!.max_attempts));
});

let world: OutcomeWorld;
afterEach(() => world?.stop());

/** What a session shows of a statement: cells without their padding, or what it was refused with. */
async function shown(statement: string): Promise<string[]> {
  const result = world.sql.unsafe(statement);
  const rows = await result.catch(() => null);
  if (rows === null) {
    const { message, detail, hint } = await refusal(world.sql.unsafe(statement));
    return [`ERROR:  ${message}`, `DETAIL:  ${detail}`, `HINT:  ${hint}`];
  }
  if (rows.columns === undefined || rows.columns.length === 0) return [];
  const cell = (value: unknown) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
  const lines = rows.map((row: postgres.Row) => Object.values(row).map(cell).join(' | '));
  return [rows.columns.map(({ name }) => name).join(' | '), ...lines];
}

it('docs/outcomes.md shows a session as it goes', async () => {
  world = await startOutcomeWorld({
    faults: [
      ...['request_fails@1;status=500;prompt=Alien', 'answer_refused@1;prompt=Saw'],
      'request_fails;code=context_length_exceeded;prompt=Heimat',
    ],
  });
  const titles = ['Alien', 'Brazil', 'Saw', 'Heimat', 'Ran', 'M', 'Persona', 'Stalker', 'Vertigo', 'Yojimbo'];
  await world.sql`
    insert into films (id, title) select n, title from unnest(${titles}::text[]) with ordinality as t(title, n)`;
  const sessions = [...text.matchAll(/^```text\n(=> .*?)^```$/gms)].map((match) => match[1]!);
  expect(sessions).toHaveLength(2);
  for (const session of sessions) {
    await round(world);
    for (const part of session.trimEnd().split(/^=> /m).slice(1)) {
      const [statement, ...output] = part.trimEnd().split('\n');
      const lines = output.filter((line) => !/^[-+]+$/.test(line));
      const trimmed = lines.map((line) =>
        line
          .split('|')
          .map((cell) => cell.trim())
          .join(' | '),
      );
      expect([statement, ...(await shown(statement!))]).toEqual([statement, ...trimmed]);
      if (statement!.startsWith('update')) await tick(world.sql);
    }
  }
});
