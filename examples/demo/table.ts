import { styleText } from 'node:util';
import { cells, cutTo, padTo, plain } from './text.ts';

const gap = '  ';

/**
 * Columns side by side within `width` cells. The last takes what the others leave; of those, none takes
 * more than its share (0 to 1) of the width.
 */
export function formatTable(header: string[], rows: string[][], shares: number[], width: number): string[] {
  const clean = rows.map((row) => row.map(plain));
  const widths = shares.map((share, at) => {
    const longest = Math.max(...[header, ...clean].map((row) => cells(row[at] ?? '')));
    return Math.min(longest, Math.floor(width * share));
  });
  const taken = widths.reduce((sum, each) => sum + each + gap.length, 0);
  const longestLast = Math.max(...[header, ...clean].map((row) => cells(row.at(-1) ?? '')));
  widths.push(Math.min(longestLast, Math.max(10, width - taken)));

  const line = (row: string[]) => widths.map((each, at) => padTo(cutTo(row[at] ?? '', each), each));
  return [
    styleText('bold', line(header).join(gap).trimEnd()),
    styleText('dim', widths.map((each) => '─'.repeat(each)).join(gap)),
    ...clean.map((row) => {
      const [first = '', ...rest] = line(row);
      return [styleText('cyan', first), ...rest].join(gap).trimEnd();
    }),
  ];
}
