import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Where the migrations are, and the list of what they were when they were merged: `<sha256>  <file>`, as sha256sum has it. */
export type Frozen = { directory: string; list: string };

const supabase = path.join(import.meta.dirname, '../supabase');
export const frozen: Frozen = {
  directory: path.join(supabase, 'migrations'),
  list: path.join(supabase, 'migrations.sha256'),
};

/** One sentence for each migration that is not what the list says; each says what to do. */
export async function findThawed(where: Frozen): Promise<string[]> {
  const { changed, unlisted } = await compare(where);
  return [
    ...changed,
    ...unlisted.map(
      (file) => `${file} has no line in migrations.sha256; when it is finished, npm run freeze adds one`,
    ),
  ];
}

/**
 * Adds a line for each new migration and returns their names. Rejects where a listed one was edited or removed, and writes
 * nothing then: databases have it as it was.
 */
export async function freeze(where: Frozen): Promise<string[]> {
  const { changed, unlisted, lines, digests } = await compare(where);
  if (changed.length > 0) throw new Error(`nothing is frozen before this is mended:\n${changed.join('\n')}`);
  for (const file of unlisted) lines.set(file, digests.get(file)!);
  if (unlisted.length > 0) {
    const sorted = [...lines].sort(([a], [b]) => (a < b ? -1 : 1));
    await writeFile(where.list, sorted.map(([file, digest]) => `${digest}  ${file}\n`).join(''));
  }
  return unlisted;
}

async function compare({ directory, list }: Frozen) {
  const digests = await digestsOf(directory);
  const lines = readLines(await readFile(list, 'utf8'));
  const rule = 'merged migrations never change: put it back as it was, and write a new one';
  const changed = [...lines].flatMap(([file, digest]) => {
    const is = digests.get(file);
    if (is === undefined) return [`${file} is listed in migrations.sha256 and is not there; ${rule}`];
    return is === digest ? [] : [`${file} was edited: expected sha256 ${digest}, came ${is}; ${rule}`];
  });
  return { changed, unlisted: [...digests.keys()].filter((file) => !lines.has(file)), lines, digests };
}

async function digestsOf(directory: string): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  for (const file of (await readdir(directory)).sort()) {
    const content = await readFile(path.join(directory, file));
    digests.set(file, createHash('sha256').update(content).digest('hex'));
  }
  return digests;
}

function readLines(text: string): Map<string, string> {
  const lines = new Map<string, string>();
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const match = /^([0-9a-f]{64}) {2}(\S+)$/.exec(line);
    if (!match)
      throw new Error(
        `expected lines of migrations.sha256 to be <sha256>  <file>, came ${JSON.stringify(line)}`,
      );
    if (lines.has(match[2]!))
      throw new Error(`migrations.sha256 lists ${match[2]} twice; keep the line that was merged first`);
    lines.set(match[2]!, match[1]!);
  }
  return lines;
}
