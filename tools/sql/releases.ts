import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { listFolder } from './rooms.ts';

/** What a version consists of: its migration, its `changes/` and each room, by their digests at the release. */
export type Release = { version: string; digests: Map<string, string> };

/** The releases under `released/`, the oldest first; each file has lines as sha256sum has them. */
export async function readReleases(directory: string): Promise<Release[]> {
  const folder = path.join(directory, 'released');
  const names = (await listFolder(folder)).filter((name) => name.endsWith('.sha256'));
  const releases = await Promise.all(
    names.map(async (name) => {
      const digests = readDigests(await readFile(path.join(folder, name), 'utf8'), name);
      return { version: name.replace(/\.sha256$/, ''), digests };
    }),
  );
  return releases.sort((a, b) => compareVersions(a.version, b.version));
}

export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number)) as [number[], number[]];
  const at = left.findIndex((part, index) => part !== right[index]);
  return at === -1 ? 0 : left[at]! - right[at]!;
}

function readDigests(text: string, name: string): Map<string, string> {
  const lines = text.split('\n').filter((line) => line !== '');
  return new Map(
    lines.map((line) => {
      const match = /^([0-9a-f]{64}) {2}(\S+)$/.exec(line);
      if (match) return [match[2]!, match[1]!];
      throw new Error(
        `expected lines of released/${name} to be <sha256>  <file>, came ${JSON.stringify(line)}`,
      );
    }),
  );
}
