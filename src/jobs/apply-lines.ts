import { messageOf } from '../errors.ts';
import { verdictOf } from '../pipeline/error-classes.ts';
import type { Line } from '../pipeline/split-lines.ts';
import { isOfNoRow, sqlStateOf } from '../store/sql-error.ts';
import type { Slice, SliceCounts } from '../store/store.ts';
import { maxTries } from './unreadable.ts';

export type Applied = { slice: Slice; counts: SliceCounts };

export type ApplyLines = {
  /** The slice of these lines, whose first byte is at `from`. */
  read: (lines: Line[], from: number) => Promise<Slice>;
  /** null: the batch is not under this lease any more. */
  apply: (slice: Slice) => Promise<SliceCounts | null>;
  /** After each slice that was applied. */
  onApplied: (applied: Applied) => Promise<void>;
  /** Whether answers of this batch were written before: then the table as a whole takes them. */
  hasWritten: () => boolean;
  /** How often in a row the harvest broke off here before. */
  tries: number;
};

/** Locks and collisions: the very same line may pass later. */
const passing = /^(40|55P03)/;

/**
 * Applies lines, each slice in a transaction of its own. A slice that the database refuses, or that takes it longer than it
 * may (`statement_timeout`), is halved, so that all others are applied; a line that is refused alone fails with the reason,
 * where others of its batch were written. Resolves with false where the batch is not under this lease any more; rejects
 * with what is no line's fault, and what was applied before stays applied.
 */
export async function applyLines(how: ApplyLines, lines: Line[], from: number): Promise<boolean> {
  const slice = await how.read(lines, from);
  let counts: SliceCounts | null;
  try {
    counts = await how.apply(slice);
  } catch (error) {
    const state = sqlStateOf(error);
    if (state === null || isOfNoRow(state)) throw error;
    if (lines.length > 1) {
      const half = Math.floor(lines.length / 2);
      const first = lines.slice(0, half);
      return (
        (await applyLines(how, first, from)) && (await applyLines(how, lines.slice(half), first.at(-1)!.end))
      );
    }
    const isItsOwn = !passing.test(state) && how.hasWritten();
    if (!isItsOwn && how.tries + 1 < maxTries) throw error;
    const failed = refused(slice, state, messageOf(error));
    return await note(how, failed, await how.apply(failed));
  }
  return await note(how, slice, counts);
}

async function note(how: ApplyLines, slice: Slice, counts: SliceCounts | null): Promise<boolean> {
  if (counts === null) return false;
  await how.onApplied({ slice, counts });
  return true;
}

/** The slice with its answers as failures. */
function refused(slice: Slice, state: string, message: string): Slice {
  const failed = slice.answers.map(({ c, n, h }) => ({
    ...{ c, n, h },
    ...verdictOf('type_mismatch', state, `Postgres refused the answer: ${message}`),
  }));
  return { ...slice, answers: [], failures: [...slice.failures, ...failed] };
}
