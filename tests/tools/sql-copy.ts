import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { supabase } from '../../tools/sql/rooms.ts';
import { writeMigration } from '../../tools/sql/write-migration.ts';

export type SqlCopy = {
  /** The copy of `supabase/`, beside a copy of package.json. */
  directory: string;
  read(file: string): Promise<string>;
  write(file: string, text: string): Promise<void>;
  /** Replaces text that is there; fails where it is not. */
  edit(file: string, from: string, to: string): Promise<void>;
  append(file: string, text: string): Promise<void>;
  remove(file: string): Promise<void>;
  setVersion(version: string): Promise<void>;
  drop(): Promise<void>;
};

/** A copy of what the tools read, to be changed by a test: as if its rooms were those of a first version, 0.1.0, not released. */
export async function copySql(): Promise<SqlCopy> {
  const parent = await mkdtemp(path.join(tmpdir(), 'rowmill-sql-'));
  const directory = path.join(parent, 'supabase');
  await cp(supabase, directory, { recursive: true });
  await cp(path.join(supabase, '../package.json'), path.join(parent, 'package.json'));
  const at = (file: string) => path.join(directory, file);
  const read = (file: string) => readFile(at(file), 'utf8');
  const write = async (file: string, text: string) => {
    await mkdir(path.dirname(at(file)), { recursive: true });
    await writeFile(at(file), text);
  };
  const edit = async (file: string, from: string, to: string) => {
    const text = await read(file);
    if (!text.includes(from)) throw new Error(`expected ${file} to have ${JSON.stringify(from)}`);
    await write(
      file,
      text.replace(from, () => to),
    );
  };
  const setVersion = async (version: string) => {
    const { version: before } = JSON.parse(await read('../package.json'));
    await edit('../package.json', `"version": "${before}"`, `"version": "${version}"`);
  };
  for (const folder of ['migrations', 'changes', 'released']) {
    await rm(at(folder), { recursive: true, force: true });
  }
  await setVersion('0.1.0');
  await writeMigration(directory);
  return {
    directory,
    read,
    write,
    edit,
    append: async (file, text) => await write(file, (await read(file)) + text),
    remove: (file) => rm(at(file)),
    setVersion,
    drop: () => rm(parent, { recursive: true }),
  };
}
