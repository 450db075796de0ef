import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findProblems } from '../../tools/sql/check.ts';
import { freezeRelease } from '../../tools/sql/release.ts';
import { readRooms, supabase } from '../../tools/sql/rooms.ts';
import { writeMigration } from '../../tools/sql/write-migration.ts';
import { copySql, type SqlCopy } from './sql-copy.ts';

const functionRoom = 'schemas/functions/doctor/ago.sql';
const viewRoom = 'schemas/views/row_failures.sql';
const schemaRoom = 'schemas/00_schema.sql';
const tableRoom = 'schemas/tables/workers.sql';

let copy: SqlCopy;
beforeEach(async () => {
  copy = await copySql();
});
afterEach(() => copy.drop());

const problems = () => findProblems(copy.directory);
async function migrationOf(version: string): Promise<string> {
  const ending = `_rowmill_${version.replaceAll('.', '_')}.sql`;
  const files = await readdir(path.join(copy.directory, 'migrations'));
  return `migrations/${files.find((file) => file.endsWith(ending))}`;
}
/** The copy with 0.1.0 released; 0.2.0 is being made. */
async function releaseFirst(): Promise<void> {
  await freezeRelease(copy.directory, '0.1.0');
  await copy.setVersion('0.2.0');
}

describe('check', () => {
  it('finds nothing in the repository itself', async () => {
    expect(await findProblems(supabase)).toEqual([]);
  });

  it('finds nothing in a fresh migration', async () => {
    expect(await problems()).toEqual([]);
  });

  it('names the line from which on a room was edited without npm run sql', async () => {
    const head = 'create or replace function rowmill.ago(';
    const before = (await copy.read(await migrationOf('0.1.0'))).split('\n');
    const line = before.findIndex((text) => text.startsWith(head));
    await copy.edit(functionRoom, head, `${head}/* edited */`);
    expect(await problems()).toEqual([
      `${await migrationOf('0.1.0')} is not what supabase/schemas/ makes: it differs from line ${line + 1} on; run npm run sql`,
    ]);
    await writeMigration(copy.directory);
    expect(await problems()).toEqual([]);
  });

  it.each([
    ['a comment', (text: string) => text.replace('-- API: internal\n', '-- API: public\n')],
    ['a grant', (text: string) => `${text}grant usage on schema rowmill to public;\n`],
    [
      'a setting',
      (text: string) => text.replace('set search_path = pg_catalog, pg_temp', "set search_path = ''"),
    ],
    ['a lost end', (text: string) => text.split('\n').slice(0, -4).join('\n')],
  ])('sees %s that the migration alone was given', async (_, edit) => {
    const file = await migrationOf('0.1.0');
    await copy.write(file, edit(await copy.read(file)));
    expect(await problems()).toEqual([
      expect.stringMatching(/ is not what supabase\/schemas\/ makes: it differs from line \d+ on;/),
    ]);
  });

  it('sees a migration that is not there', async () => {
    const file = await migrationOf('0.1.0');
    await copy.remove(file);
    expect(await problems()).toEqual([`${file} is not there; run npm run sql`]);
  });

  it('sees a file in migrations/ that belongs to no version', async () => {
    await copy.write('migrations/20270101000000_hotfix.sql', 'select 1;\n');
    expect(await problems()).toEqual([
      expect.stringContaining('migrations/20270101000000_hotfix.sql belongs to no version'),
    ]);
  });

  it.each(['0.1.0', '0.2.0'])('sees changes/%s.sql, which a first version does not have', async (version) => {
    await copy.write(`changes/${version}.sql`, 'select 1;\n');
    expect(await problems()).toEqual([expect.stringContaining(`changes/${version}.sql is in no migration`)]);
  });

  it('refuses a room that no pattern of config.toml matches', async () => {
    await copy.write('schemas/extras/thing.sql', 'select 1;\n');
    await expect(problems()).rejects.toThrow(
      /^schemas\/extras\/thing\.sql is in no migration: expected a pattern/,
    );
  });

  it('refuses a version that gives a migration no name and no place', async () => {
    await copy.setVersion('0.2.0-beta.1');
    await expect(problems()).rejects.toThrow(/like 0\.1\.0, came 0\.2\.0-beta\.1/);
  });
});

describe('release', () => {
  it('writes the digest of the migration and of each room as sha256sum has it', async () => {
    expect(await freezeRelease(copy.directory, '0.1.0')).toBe('released/0.1.0.sha256');
    const text = await copy.read('released/0.1.0.sha256');
    const files: string[] = [];
    for (const line of text.trimEnd().split('\n')) {
      const [digest, file] = line.split('  ') as [string, string];
      files.push(file);
      expect(digest, file).toBe(
        createHash('sha256')
          .update(await copy.read(file))
          .digest('hex'),
      );
    }
    const rooms = (await readRooms(copy.directory)).map((room) => room.file);
    expect(files).toEqual([await migrationOf('0.1.0'), ...rooms]);
    expect(await problems()).toEqual([]);
  });

  it('happens once', async () => {
    await freezeRelease(copy.directory, '0.1.0');
    const before = await copy.read('released/0.1.0.sha256');
    await expect(freezeRelease(copy.directory, '0.1.0')).rejects.toThrow(
      'expected a version after 0.1.0, which is released, came 0.1.0',
    );
    expect(await copy.read('released/0.1.0.sha256')).toBe(before);
  });

  it('is of a later version than the last one, by number', async () => {
    await copy.setVersion('0.10.0');
    await copy.remove(await migrationOf('0.1.0'));
    await writeMigration(copy.directory);
    await freezeRelease(copy.directory, '0.10.0');
    await copy.setVersion('0.9.0');
    await expect(freezeRelease(copy.directory, '0.9.0')).rejects.toThrow('expected a version after 0.10.0');
    await expect(writeMigration(copy.directory)).rejects.toThrow('0.10.0 is released and does not change');
    expect(await problems()).toContain(
      'package.json says 0.9.0, and 0.10.0 is released; set a later version there',
    );
  });

  it('is of the version that package.json names', async () => {
    await expect(freezeRelease(copy.directory, '0.2.0')).rejects.toThrow(
      'expected 0.1.0, the version in package.json, came 0.2.0',
    );
  });

  it('writes nothing while check has problems', async () => {
    await copy.append(functionRoom, '-- one line more\n');
    await expect(freezeRelease(copy.directory, '0.1.0')).rejects.toThrow(
      /nothing is frozen.*\n.*run npm run sql/,
    );
    expect(await readdir(copy.directory)).not.toContain('released');
  });
});

describe('after a release', () => {
  it.each([
    ['an edited room', () => copy.append(functionRoom, '-- one line more\n')],
    ['a removed room', () => copy.remove(functionRoom)],
  ])('%s is a reason to set the next version', async (_, change) => {
    await freezeRelease(copy.directory, '0.1.0');
    await change();
    expect(await problems()).toEqual([
      `${functionRoom} changed since 0.1.0 was released; set the next version in package.json, then run npm run sql`,
    ]);
    await expect(writeMigration(copy.directory)).rejects.toThrow('0.1.0 is released and does not change');
  });

  it('an edited or lost migration is to be put back, and the changes that it was made of', async () => {
    await releaseFirst();
    await copy.write('changes/0.2.0.sql', "comment on schema rowmill is 'a changed comment';\n");
    await writeMigration(copy.directory);
    await freezeRelease(copy.directory, '0.2.0');
    expect(await problems()).toEqual([]);
    const [first, second] = [await migrationOf('0.1.0'), await migrationOf('0.2.0')];
    await copy.append(first, '-- one line more\n');
    await copy.remove(second);
    await copy.append('changes/0.2.0.sql', '-- one line more\n');
    const putBack = (file: string, version: string) =>
      `${file} is not what ${version} was released with; put it back: what changes goes into the next version`;
    expect(await problems()).toEqual([
      putBack(first, '0.1.0'),
      putBack(second, '0.2.0'),
      putBack('changes/0.2.0.sql', '0.2.0'),
    ]);
  });

  it('the next migration has its changes first, then each function and view that is new or changed, then the rights', async () => {
    await releaseFirst();
    await copy.append(functionRoom, '-- a changed function\n');
    await copy.append(viewRoom, '-- a changed view\n');
    await copy.append(tableRoom, '-- a changed table\n');
    const added = 'schemas/functions/doctor/before.sql';
    await copy.write(added, '-- API: internal\n');
    await copy.write('changes/0.2.0.sql', 'alter table rowmill.workers add column host text;\n');
    await writeMigration(copy.directory);
    const text = await copy.read(await migrationOf('0.2.0'));
    const parts = [
      'set search_path = pg_catalog, pg_temp;\n',
      await copy.read('changes/0.2.0.sql'),
      await copy.read(functionRoom),
      await copy.read(added),
      await copy.read(viewRoom),
      await copy.read('schemas/99_rights.sql'),
      'reset search_path;\nreset check_function_bodies;\n',
    ];
    expect(text.slice(text.indexOf('set search_path'))).toBe(parts.join('\n'));
    expect(await problems()).toEqual([]);
  });

  it('the next migration has a later timestamp than the last, on the same day, too', async () => {
    await releaseFirst();
    await writeMigration(copy.directory);
    const timestampOf = async (version: string) => Number(/\d{14}/.exec(await migrationOf(version))![0]);
    expect(await timestampOf('0.2.0')).toBe((await timestampOf('0.1.0')) + 1);
  });

  it.each([
    ['a changed schema', schemaRoom, () => copy.append(schemaRoom, '-- one line more\n')],
    ['a changed table', tableRoom, () => copy.append(tableRoom, '-- one line more\n')],
    ['a removed table', tableRoom, () => copy.remove(tableRoom)],
    ['a new table', 'schemas/tables/notes.sql', () => copy.write('schemas/tables/notes.sql', 'select 1;\n')],
    ['a changed type', 'schemas/types/room.sql', () => copy.append('schemas/types/room.sql', '-- more\n')],
    ['a removed function', functionRoom, () => copy.remove(functionRoom)],
    ['a removed view', viewRoom, () => copy.remove(viewRoom)],
  ])('%s that changes/ does not name is refused', async (_, file, change) => {
    await releaseFirst();
    await change();
    // A longer name is another thing.
    const name = file === schemaRoom ? 'schema rowmill' : `rowmill.${path.basename(file, '.sql')}`;
    await copy.write('changes/0.2.0.sql', `drop table ${name}_of_old;\n`);
    const refusal = `new, changed or removed since 0.1.0, and not named in supabase/changes/0.2.0.sql: ${file};`;
    await expect(writeMigration(copy.directory)).rejects.toThrow(refusal);
    await expect(problems()).rejects.toThrow(refusal);
    await copy.write('changes/0.2.0.sql', `-- by hand\ndrop table ${name};\n`);
    await writeMigration(copy.directory);
    expect(await problems()).toEqual([]);
  });
});

describe('node tools/sql.ts', () => {
  const run = async (...args: string[]) =>
    await promisify(execFile)(process.execPath, [path.join(supabase, '../tools/sql.ts'), ...args]).then(
      ({ stdout }) => ({ code: 0, stdout }),
      (error: { code: number; stdout: string }) => ({ code: error.code, stdout: error.stdout }),
    );

  it.each(['nonsense', 'check 0.1.0', 'release', 'release 0.1.0 0.2.0'])(
    'prints the usage and fails: %s',
    async (line) => {
      expect(await run(...line.split(' '))).toMatchObject({
        code: 1,
        stdout: expect.stringMatching(/^usage: npm run sql /),
      });
    },
  );

  it('says so where nothing is wrong', async () => {
    expect(await run('check')).toMatchObject({ code: 0 });
  });
});
