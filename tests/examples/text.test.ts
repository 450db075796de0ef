import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { formatTable } from '../../examples/demo/table.ts';
import { cells, cutTo, padTo, plain, wrap } from '../../examples/demo/text.ts';

describe('measuring text', () => {
  test.each([
    ['plain', 5],
    ['', 0],
    ['七人の侍', 8],
    ['café', 4],
    ['cafe\u0301', 4],
    ['🎬', 2],
    ['👩‍👩‍👧', 2],
    ['❤️', 2],
    ['✔', 1],
    ['\u001b[31mred\u001b[39m', 3],
    ['ｗｉｄｅ', 8],
    ['기생충', 6],
  ])('%s takes %i cells', (text, wanted) => {
    expect(cells(text)).toBe(wanted);
  });

  test('a cut never takes more cells than there are, and splits no character', () => {
    expect(cutTo('七人の侍', 8)).toBe('七人の侍');
    expect(cutTo('七人の侍', 7)).toBe('七人の…');
    expect(cutTo('七人の侍', 6)).toBe('七人…');
    expect(cutTo('ab👩‍👩‍👧cd', 4)).toBe('ab…');
    expect(cutTo('anything', 0)).toBe('');
    expect(cells(padTo('七人', 7))).toBe(7);
  });

  test('wrapping breaks between words and loses none', () => {
    expect(wrap('one two  three\nfour', 9)).toEqual(['one two', 'three', 'four']);
    expect(wrap('a verylongword b', 6)).toEqual(['a', 'verylongword', 'b']);
  });

  test('what a model wrote cannot steer the terminal', () => {
    expect(plain('a\u001b[2Jb\r\nc\td\u0007')).toBe('ab c d');
  });
});

describe('a table of rows', () => {
  const rows = [
    ['七人の侍', 'drama, 行動', `A village hires seven swordsmen. ${'And more. '.repeat(30)}`],
    ['Short', '', 'One\nline.'],
  ];

  test.each([60, 80, 140])('fits %i columns, its columns straight', (width) => {
    const lines = formatTable(['Title', 'categories', 'summary'], rows, [0.3, 0.2], width).map(
      stripVTControlCharacters,
    );
    expect(lines).toHaveLength(4);
    for (const line of lines) expect(cells(line)).toBeLessThanOrEqual(width);
    const start = (line: string, text: string) => cells(line.slice(0, line.indexOf(text)));
    expect(start(lines[2]!, 'A village')).toBe(start(lines[0]!, 'summary'));
    expect(start(lines[3]!, 'One line.')).toBe(start(lines[0]!, 'summary'));
  });
});
