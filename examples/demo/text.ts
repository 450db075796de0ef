import { stripVTControlCharacters } from 'node:util';

const segmenter = new Intl.Segmenter();
// East Asian Wide and Fullwidth, in the blocks that matter on a terminal; pictures take two cells as well.
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}|\ufe0f/u;
const invisible = /^[\p{Mark}\p{Control}\p{Format}]+$/u;

/** How many cells of a terminal the text takes; escape sequences and combining marks take none. */
export function cells(text: string): number {
  let count = 0;
  for (const { segment } of segmenter.segment(stripVTControlCharacters(text))) count += cellsOf(segment);
  return count;
}

function cellsOf(segment: string): number {
  if (wide.test(segment)) return 2;
  return invisible.test(segment) ? 0 : 1;
}

/** The text on one line without anything that steers a terminal: what a model wrote may hold both. */
export function plain(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/[\s\p{Control}]+/gu, ' ')
    .trim();
}

/** Cut to so many cells, the last of them an ellipsis where something was lost. For text without escapes. */
export function cutTo(text: string, most: number): string {
  if (cells(text) <= most) return text;
  let kept = '';
  let room = most - 1;
  for (const { segment } of segmenter.segment(text)) {
    room -= cellsOf(segment);
    if (room < 0) break;
    kept += segment;
  }
  return most > 0 ? `${kept.trimEnd()}…` : '';
}

/** Filled up with blanks to so many cells. */
export function padTo(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - cells(text)));
}

/** Broken between words into lines of at most `width` cells; a word that is longer keeps a line to itself. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of plain(text).split(' ')) {
    const longer = lines.length > 0 ? `${lines.at(-1)} ${word}` : word;
    if (lines.length > 0 && cells(longer) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

export const count = (number: number): string => number.toLocaleString('en-US');

/** "1 batch", "3 batches". */
export function counted(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}
