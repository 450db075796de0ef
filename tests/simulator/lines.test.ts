import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readLines } from '../../src/simulator/lines.ts';

async function linesOf(content: string, chunkBytes: number): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'rowmill-lines-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, 'file'), content);
  const handle = await open(join(directory, 'file'));
  onTestFinished(() => handle.close());
  return (await Array.fromAsync(readLines(handle, chunkBytes))).flat();
}

describe('lines of a file', () => {
  const lines = ['one\u2028two', 'three\u0085four\r', '', '👩‍🚀 and a line that spans several chunks', 'end'];

  it.each([1, 2, 3, 7, 64, 4096])('are split on \\n alone, read %d bytes at a time', async (chunkBytes) => {
    expect(await linesOf(lines.join('\n'), chunkBytes)).toEqual(lines);
    expect(await linesOf(`${lines.join('\n')}\n`, chunkBytes)).toEqual(lines);
  });

  it('are none in an empty file', async () => {
    expect(await linesOf('', 10)).toEqual([]);
  });
});
