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
    const lines = await split(`${'x'.repeat(8_000_000)}\n`, 100);
    expect(lines).toEqual([{ text: 'x'.repeat(8_000_000), end: 8_000_001 }]);
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  describe('a line that is too long', () => {
    const bound = { maxLineBytes: 10 };
    const readAll = async (text: string, size: number) => {
      const lines: Line[] = [];
      for await (const some of splitLines(inChunks(Buffer.from(text), size), bound)) lines.push(...some);
      return lines;
    };

    test.each([1, 3, 4, 10, 11, 1_000])(
      'is told, and the next ones are read, in chunks of %i',
      async (size) => {
        expect(await readAll('0123456789\n0123456789x\nb\n\n0123456789\n0123456789xy', size)).toEqual([
          { text: '0123456789', end: 11 },
          { text: expect.stringMatching(/^0123456789/), end: 23, problem: 'too_long' },
          { text: 'b', end: 25 },
          { text: '0123456789', end: 37 },
          { text: expect.stringMatching(/^0123456789/), end: 49, problem: 'too_long' },
        ]);
      },
    );

    test('keeps its beginning alone', async () => {
      const [line] = await split(`${'x'.repeat(9_000_000)}\n`);
      expect(line).toEqual({ text: 'x'.repeat(512), end: 9_000_001, problem: 'too_long' });
    });

    test('may never end, and takes no more memory than the bound', async () => {
      async function* endless(): AsyncGenerator<Uint8Array> {
        for (let at = 0; at < 4_000; at += 1) yield Buffer.alloc(65_536, 'x');
      }
      let most = 0;
      for await (const _lines of splitLines(endless())) {
        most = Math.max(most, process.memoryUsage().arrayBuffers);
      }
      expect(most).toBeLessThan(150_000_000);
    });
  });

  test('bytes that come one by one take little more memory than their line', async () => {
    const before = process.memoryUsage().heapUsed;
    let most = 0;
    async function* oneByOne(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < 1_000_000; at += 1) {
        if (at % 100_000 === 0) most = Math.max(most, process.memoryUsage().heapUsed - before);
        yield Buffer.from('x');
      }
    }
    for await (const _lines of splitLines(oneByOne())) {
      // read to the end
    }
    expect(most).toBeLessThan(64_000_000);
  });

  test('every chunk is an occasion to stop, also one without a line', async () => {
    const yields: number[] = [];
    for await (const lines of splitLines(inChunks(Buffer.from('\n\n\n\nabcd\n'), 2)))
      yields.push(lines.length);
    expect(yields).toEqual([0, 0, 0, 0, 1]);
  });

  describe('a line that is not UTF-8', () => {
    const splitBytes = async (bytes: Buffer, size = 1_000) => {
      const lines: Line[] = [];
      for await (const some of splitLines(inChunks(bytes, size))) lines.push(...some);
      return lines;
    };

    test.each([
      ['a stray byte', [0xff]],
      ['half a character', [0xe2, 0x82]],
      ['a surrogate', [0xed, 0xa0, 0xbd]],
      ['an overlong slash', [0xc0, 0xaf]],
    ])('is told: %s', async (_what, bytes) => {
      for (const size of [1, 1_000]) {
        const file = Buffer.from([...Buffer.from('a\nb'), ...bytes, ...Buffer.from('\nc')]);
        const [first, second, third] = await splitBytes(file, size);
        expect([first!.problem, second!.problem, third!.problem]).toEqual([undefined, 'not_utf8', undefined]);
        expect(second!.text).toMatch(/^b/);
      }
    });

    test('is no line that holds U+FFFD itself', async () => {
      expect(await split('a\ufffdb\n\ufeffc')).toEqual([
        { text: 'a\ufffdb', end: 6 },
        { text: '\ufeffc', end: 10 },
      ]);
    });
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
