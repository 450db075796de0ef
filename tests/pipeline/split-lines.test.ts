import { describe, expect, test } from 'vitest';
import { type Line, splitLines } from '../../src/pipeline/split-lines.ts';
import { hostileTexts } from './factories.ts';

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function split(text: string, size = 1_000_000): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const some of splitLines(inChunks(Buffer.from(text), size))) lines.push(...some);
  return lines;
}

const texts = async (text: string, size?: number) => (await split(text, size)).map((line) => line.text);

describe('splitLines', () => {
  test('lines end at a newline and nowhere else', async () => {
    const text = 'a\u2028b\u2029c\u0085d\ve\ff\n\u{1f9df}\n';
    expect(await texts(text)).toEqual(['a\u2028b\u2029c\u0085d\ve\ff', '\u{1f9df}']);
  });

  test('a last line needs no newline', async () => {
    expect(await texts('a\nb')).toEqual(['a', 'b']);
  });

  test('empty lines are skipped and a final carriage return is dropped', async () => {
    expect(await texts('\n\r\na\r\n\n\nb\rc\r\n')).toEqual(['a', 'b\rc']);
  });

  test('a file without a line yields nothing', async () => {
    expect(await texts('')).toEqual([]);
    expect(await texts('\n\n')).toEqual([]);
  });

  test('the end of a line is the byte after its newline', async () => {
    const text = 'ä\n\n\u{1f9df}x\r\nlast';
    const bytes = Buffer.from(text);
    const lines = await split(text);
    expect(lines.map((line) => line.end)).toEqual([3, 11, 15]);
    expect(await texts(bytes.subarray(lines[0]!.end).toString())).toEqual(['\u{1f9df}x', 'last']);
  });

  test.each([1, 2, 3, 5, 7, 64, 4096])('chunks of %i bytes change nothing', async (size) => {
    const file = Object.values(hostileTexts)
      .map((text) => `${JSON.stringify(text.slice(0, 2_000))}\n`)
      .join('\n');
    expect(await split(file, size)).toEqual(await split(file));
  });

  test('a long line over many chunks is joined in time linear to its length', async () => {
    const started = performance.now();
    const lines = await split(`${'x'.repeat(20_000_000)}\n`, 1_000);
    expect(lines).toEqual([{ text: 'x'.repeat(20_000_000), end: 20_000_001 }]);
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  test.each([
    ['within a chunk', 1_000],
    ['over chunks', 4],
  ])('a line beyond the bound is refused %s', async (_where, size) => {
    const read = async (text: string) => {
      for await (const _lines of splitLines(inChunks(Buffer.from(text), size), { maxLineBytes: 10 })) {
        // read to the end
      }
    };
    await read('0123456789\n0123456789');
    await expect(read('a\n0123456789x\n')).rejects.toMatchObject({ code: 'line_too_long' });
    await expect(read('a\n0123456789x')).rejects.toMatchObject({ code: 'line_too_long' });
  });

  test('a failing source fails the reader', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('a\nb');
      throw new Error('reset');
    }
    const seen: string[] = [];
    const read = async () => {
      for await (const lines of splitLines(broken())) seen.push(...lines.map((line) => line.text));
    };
    await expect(read()).rejects.toThrow('reset');
    expect(seen).toEqual(['a']);
  });
});
