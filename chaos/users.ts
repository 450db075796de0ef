import { Connection } from './connection.ts';
import type { Pace } from './pace.ts';
import { planImport, type Unit } from './plan.ts';
import { createRandom, type Random } from './random.ts';
import type { Subject } from './subjects.ts';
import type { Versions } from './versions.ts';
import { Writer } from './writer.ts';

const connections = 4;
const editedShare = 0.05;
const deletedShare = 0.01;
// The rest of the edits comes after the import, over rows that are in flight or enriched.
const earlyShare = 0.6;

/** What the users did, in rows. */
export type Usage = {
  /** Rows that must be there at the end, by table. */
  alive: Map<Subject, Set<number>>;
  edited: number;
  annotated: number;
  deleted: number;
  undone: number;
  /** What Postgres refused them. */
  refusals: string[];
};

/** Imports all rows over a few connections at once, and edits and deletes some of them, in step with the kills. */
export async function useTables(
  {
    url,
    rows,
    seed,
    versions,
    pace,
  }: { url: string; rows: number; seed: number; versions: Versions; pace: Pace },
  signal: AbortSignal,
): Promise<Usage> {
  const units = planImport(rows, createRandom(seed, 'plan')).values();
  const usage: Usage = { alive: new Map(), edited: 0, annotated: 0, deleted: 0, undone: 0, refusals: [] };
  const ends = await Promise.allSettled(
    Array.from({ length: connections }, async (_, at) => {
      const connection = new Connection(url, signal);
      const random = createRandom(seed, `user ${at}`);
      const writer = new Writer(connection, versions, random);
      try {
        await use(writer, units, pace, random, usage, signal);
      } finally {
        usage.refusals.push(...connection.refusals);
        await connection.close();
      }
      for (const [subject, ids] of writer.alive) {
        usage.alive.set(subject, new Set([...(usage.alive.get(subject) ?? []), ...ids]));
      }
    }),
  );
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return usage;
}

async function use(
  writer: Writer,
  units: Iterable<Unit>,
  pace: Pace,
  random: Random,
  usage: Usage,
  signal: AbortSignal,
): Promise<void> {
  let inserted = 0;
  let edited = 0;
  let deleted = 0;
  const change = async (share: number) => {
    while (edited < inserted * editedShare * share) {
      const ids = await edit(writer, random, usage);
      if (ids === 0) break;
      edited += ids;
    }
    while (deleted + 1 <= inserted * deletedShare * share) {
      const { subject, ids } = someRows(writer, random, random.chance(0.5) ? 1 : 5);
      if (!subject) break;
      await writer.delete(subject, ids);
      deleted += ids.length;
      usage.deleted += ids.length;
    }
  };
  for (const unit of units) {
    await pace.forImport(signal);
    await writer.write(unit);
    inserted += unit.ids.length;
    usage.undone += unit.undoneIds.length;
    pace.wrote(unit.ids.length);
    await change(earlyShare);
  }
  const steps = 40;
  for (let step = 1; step <= steps; step += 1) {
    await pace.forLateEdit(step / steps, signal);
    await change(earlyShare + (1 - earlyShare) * (step / steps));
  }
}

/** One statement over one row or a range; returns how many rows it changed. */
async function edit(writer: Writer, random: Random, usage: Usage): Promise<number> {
  const { subject, ids } = someRows(writer, random, random.chance(0.6) ? 1 : random.between(5, 40));
  if (!subject) return 0;
  if (random.chance(0.2)) {
    await writer.annotate(subject, ids);
    usage.annotated += ids.length;
  } else {
    await writer.edit(subject, ids);
    usage.edited += ids.length;
  }
  return ids.length;
}

/** Neighbours in the order of their import. */
function someRows(writer: Writer, random: Random, count: number): { subject: Subject | null; ids: number[] } {
  const filled = [...writer.alive].filter(([, ids]) => ids.length > 0);
  if (filled.length === 0) return { subject: null, ids: [] };
  const [subject, ids] = random.pick(filled);
  const from = random.between(0, Math.max(0, ids.length - count));
  return { subject, ids: ids.slice(from, from + count) };
}
