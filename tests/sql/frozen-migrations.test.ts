import { appendFile, cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Frozen, findThawed, freeze, frozen } from '../../scripts/frozen-migrations.ts';

it('every migration is what it was when it was merged', async () => {
  expect(await findThawed(frozen)).toEqual([]);
});

describe('a copy of the migrations', () => {
  const first = '20261121000100_schema.sql';
  const fresh = '20991231000000_fresh.sql';
  let root: string;
  let copy: Frozen;
  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'rowmill-frozen-'));
    copy = { directory: path.join(root, 'migrations'), list: path.join(root, 'migrations.sha256') };
    await cp(frozen.directory, copy.directory, { recursive: true });
    await cp(frozen.list, copy.list);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const add = () => writeFile(path.join(copy.directory, fresh), 'select 1;\n');
  const edit = () => appendFile(path.join(copy.directory, first), '\n');
  const list = () => readFile(copy.list, 'utf8');
  const lines = async () => (await list()).trimEnd().split('\n');

  it('in which one is edited says to put it back and to write a new one', async () => {
    await edit();
    const [problem, ...others] = await findThawed(copy);
    expect(others).toEqual([]);
    expect(problem).toContain(`${first} was edited: expected sha256 `);
    expect(problem).toContain('merged migrations never change: put it back as it was, and write a new one');
  });

  it('from which one is gone says the same', async () => {
    await rm(path.join(copy.directory, first));
    expect(await findThawed(copy)).toEqual([
      `${first} is listed in migrations.sha256 and is not there; merged migrations never change: put it back as it was, and write a new one`,
    ]);
  });

  it('in which one has another name says what is missing and what is new', async () => {
    await rename(path.join(copy.directory, first), path.join(copy.directory, fresh));
    expect(await findThawed(copy)).toEqual([
      expect.stringContaining(`${first} is listed`),
      expect.stringContaining(`${fresh} has no line`),
    ]);
  });

  it('with a new one says to freeze it; frozen, it has a line, and the others have theirs', async () => {
    await add();
    const before = await lines();
    expect(await findThawed(copy)).toEqual([
      `${fresh} has no line in migrations.sha256; when it is finished, npm run freeze adds one`,
    ]);
    expect(await freeze(copy)).toEqual([fresh]);
    expect(await findThawed(copy)).toEqual([]);
    const after = await lines();
    expect(after.slice(0, -1)).toEqual(before);
    // echo 'select 1;' | sha256sum
    expect(after.at(-1)).toBe(`4a45092ccf992ea92250053a80b931b787924ba61648f420555511b84f10ab6c  ${fresh}`);
    expect(await freeze(copy)).toEqual([]);
  });

  it('is frozen only if no listed one was edited or removed: nothing is written else', async () => {
    await add();
    await edit();
    const before = await list();
    await expect(freeze(copy)).rejects.toThrow(`${first} was edited`);
    expect(await list()).toBe(before);
    await rm(path.join(copy.directory, first));
    await expect(freeze(copy)).rejects.toThrow(`${first} is listed in migrations.sha256 and is not there`);
    expect(await list()).toBe(before);
  });

  it('with a list that cannot be read, or names a file twice, says so', async () => {
    await appendFile(copy.list, 'oops\n');
    await expect(findThawed(copy)).rejects.toThrow('came "oops"');
    await writeFile(copy.list, `${(await lines())[0]}\n${(await lines())[0]}\n`);
    await expect(findThawed(copy)).rejects.toThrow(`lists ${first} twice`);
  });
});
