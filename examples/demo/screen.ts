import { clearScreenDown, cursorTo, moveCursor } from 'node:readline';
import { styleText } from 'node:util';
import { padTo } from './text.ts';

const hideCursor = '\u001b[?25l';
const showCursor = '\u001b[?25h';
const quietMs = 2000;
/** Steps and bars begin in the same column. */
export const labelCells = 10;

export type Screen = {
  /** Cells a line may take. */
  width(): number;
  /** One or more lines that stay. */
  print(...lines: string[]): void;
  /** A named thing that is done. */
  done(label: string, text: string): void;
  /** Says what is going on until the next thing is printed; nothing where lines cannot be taken back. */
  busy(label: string, text: string): void;
  /** Draws these lines over those drawn before; without a terminal, prints `summary` now and then instead. */
  redraw(lines: string[], summary: string): void;
  /** What was drawn last stays. */
  settle(): void;
};

export function createScreen(out: NodeJS.WriteStream): Screen {
  const isLive = out.isTTY === true;
  let drawn = 0;
  let printedAt = 0;
  let lastSummary = '';
  // The pipe may go away (| head); that is no reason to leave a database running.
  out.on('error', () => {});
  if (isLive) process.once('exit', () => out.write(showCursor));

  function erase(): void {
    if (drawn === 0) return;
    moveCursor(out, 0, -drawn);
    cursorTo(out, 0);
    clearScreenDown(out);
    drawn = 0;
  }

  const screen: Screen = {
    width: () => (isLive ? Math.max(40, out.columns) - 1 : 110),
    print(...lines) {
      erase();
      out.write(`${lines.join('\n')}\n`);
    },
    done(label, text) {
      screen.print(`  ${styleText('green', '✔')} ${padTo(label, labelCells)}${text}`);
    },
    busy(label, text) {
      if (isLive) screen.redraw([`  ${styleText('dim', `· ${padTo(label, labelCells)}${text}`)}`], '');
    },
    redraw(lines, summary) {
      if (isLive) {
        // In one write, so that no terminal shows the moment in between.
        out.cork();
        erase();
        out.write(`${hideCursor}${lines.join('\n')}\n`);
        out.uncork();
        drawn = lines.length;
      } else if (summary !== lastSummary && Date.now() - printedAt >= quietMs) {
        out.write(`${summary}\n`);
        printedAt = Date.now();
        lastSummary = summary;
      }
    },
    settle() {
      drawn = 0;
      if (isLive) out.write(showCursor);
    },
  };
  return screen;
}
