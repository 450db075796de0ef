import type { Random } from './random.ts';
import { type Subject, subjects } from './subjects.ts';

const kinds = ['singles', 'small', 'large', 'transaction', 'rollback', 'upsert', 'copy'] as const;

/** What one connection writes in one go. */
export type Unit = {
  kind: (typeof kinds)[number];
  subject: Subject;
  ids: number[];
  /** Rows that are written and rolled back: negative, so that no other unit ever writes them. */
  undoneIds: number[];
};

/** How many rows; `large` is what a person's script sends, 175 what the Supabase dashboard does. */
const sizes: Record<Unit['kind'], number> = {
  singles: 20,
  small: 175,
  large: 1000,
  transaction: 90,
  rollback: 0,
  upsert: 100,
  copy: 400,
};

/** Cuts an import of so many rows into units of mixed kinds, in the order in which they are to be written. */
export function planImport(rows: number, random: Random): Unit[] {
  // A short run is to have more than two statements as well.
  const most = Math.max(20, Math.round(rows / 8));
  const left = new Map(subjects.map((subject) => [subject, Math.round(rows * subject.share)]));
  // Whatever rounding took or gave.
  const first = subjects[0]!;
  const planned = [...left.values()].reduce((sum, count) => sum + count, 0);
  left.set(first, left.get(first)! + rows - planned);

  const nextId = new Map(subjects.map((subject) => [subject, 1]));
  let nextUndone = -1;
  const units: Unit[] = [];
  for (;;) {
    const open = subjects.filter((subject) => left.get(subject)! > 0);
    if (open.length === 0) return units;
    const subject = random.pick(open);
    const kind = random.pick(kinds);
    const count = Math.min(sizes[kind], most, left.get(subject)!);
    const from = nextId.get(subject)!;
    left.set(subject, left.get(subject)! - count);
    nextId.set(subject, from + count);
    const undone = kind === 'rollback' ? 50 : kind === 'transaction' && random.chance(0.5) ? 10 : 0;
    units.push({
      kind,
      subject,
      ids: Array.from({ length: count }, (_, at) => from + at),
      undoneIds: Array.from({ length: undone }, () => nextUndone--),
    });
  }
}
