import { setImmediate as eventLoop } from 'node:timers/promises';
import { boundedRun } from '../bounded-run.ts';
import { RowmillError } from '../errors.ts';
import type { LineOutcome } from '../pipeline/outcome.ts';
import type { Line } from '../pipeline/split-lines.ts';
import { unreadableOutcome, unreadOutcome } from '../pipeline/unread-line.ts';
import type { Compiled } from '../submission/compiled.ts';

export type LineReader = Pick<Compiled, 'definition' | 'readOutcome'>;

/** A check that looks at no more things than this ends within a second. */
const quickWork = 1e9;
/** How long lines are read before others have their turn; a thousand ordinary ones take a tenth of it. */
const turnMs = 100;
/** How long a single line may take, as long as few are slow, and where some are. Most take a few microseconds. */
const lineMs = 500;
const hurriedLineMs = 50;
const slowLines = 3;
/** So many slow lines in a slice are no bad luck with a few rows: the schema cannot be checked. */
const tooManySlowLines = 50;

/**
 * Takes lines of a result file; resolves with what became of each. Nothing in a line raises: one that takes too long is the
 * failure of its row. Rejects with RowmillError `answers_too_slow` where fifty lines of them do, and with the signal's reason.
 */
export async function readLines(
  pipeline: LineReader,
  lines: Line[],
  signal?: AbortSignal,
): Promise<LineOutcome[]> {
  const outcomes: LineOutcome[] = [];
  const readTo = (stop: number) => {
    while (outcomes.length < stop) outcomes.push(readLine(pipeline, lines[outcomes.length]!));
  };
  if (isQuick(pipeline, lines)) {
    readTo(lines.length);
    return outcomes;
  }
  let slow = 0;
  let isAlone = false;
  while (outcomes.length < lines.length) {
    const at = outcomes.length;
    const isHurried = slow >= slowLines;
    // What was read before the time ran out stays read. The line that stood there is read by itself, and fails if it must.
    const isInTime: boolean =
      isAlone || isHurried
        ? boundedRun(isHurried ? hurriedLineMs : lineMs, () => readTo(at + 1))
        : boundedRun(turnMs, () => readTo(lines.length));
    if ((isAlone || isHurried) && outcomes.length === at) {
      outcomes.push(unreadOutcome(lines[at]!.text, 'check_too_slow'));
      slow += 1;
      if (slow === tooManySlowLines) throw tooSlow(pipeline);
    }
    isAlone = !isInTime && !isAlone;
    if (outcomes.length < lines.length) {
      await eventLoop();
      signal?.throwIfAborted();
    }
  }
  return outcomes;
}

/** Whether the lines need no watch, which costs as much as reading a hundred of them. */
function isQuick({ readOutcome }: LineReader, lines: Line[]): boolean {
  const characters = lines.reduce((sum, { text }) => sum + text.length, 0);
  return characters * readOutcome.weight <= quickWork;
}

function readLine({ readOutcome }: LineReader, line: Line): LineOutcome {
  if (line.problem !== undefined) return unreadOutcome(line.text, line.problem);
  try {
    return readOutcome(line.text);
  } catch {
    // No line is known for which this happens. Its neighbours must not wait until one is found.
    return unreadableOutcome(line.text);
  }
}

function tooSlow({ definition }: LineReader): RowmillError {
  return new RowmillError(
    'answers_too_slow',
    `It takes too long to check the answers of "${definition.name}" against its schema: simplify output_schema.`,
    { fields: { pipeline: definition.name, version: definition.version } },
  );
}
