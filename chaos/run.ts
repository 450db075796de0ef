import { Endings } from './endings.ts';
import { judge } from './judge.ts';
import { killThings } from './killer.ts';
import type { ChaosOptions } from './options.ts';
import { Pace } from './pace.ts';
import type { Report } from './report.ts';
import { settle } from './settle.ts';
import { useTables } from './users.ts';
import { Versions } from './versions.ts';
import { startWorld } from './world.ts';

const settleMs = 150_000;
const logEveryMs = 10_000;

export type Progress = { log?: (line: string) => void; signal?: AbortSignal };

/**
 * Imports rows through worker processes while killing them and their Postgres, waits until all is quiet, and judges
 * by the database and the provider's books. Everything it starts is ended when it returns or rejects; it rejects
 * where the signal is aborted, or where the run itself could not be made.
 */
export async function runChaos(
  options: ChaosOptions,
  { log = () => {}, signal = new AbortController().signal }: Progress = {},
): Promise<Report> {
  const startedAt = performance.now();
  const seconds = () => ((performance.now() - startedAt) / 1000).toFixed(1);
  const tell = (line: string) => log(`${seconds()} s: ${line}`);
  const endings = new Endings();
  try {
    const world = await startWorld(options, endings, log, signal);
    const { database, simulator, workers, observer, note } = world;
    const versions = new Versions();
    const pace = new Pace(options.rows, options.kills);
    const telling = setInterval(
      () => tell(`${pace.rowsDone} rows imported, ${pace.killsDone} kills`),
      logEveryMs,
    );
    endings.add(() => clearInterval(telling));
    const work = { url: database.url, rows: options.rows, seed: options.seed, versions, pace };
    const [usage, kills] = await together(signal, [
      (either) => useTables(work, either),
      (either) => killThings(options, { workers, database, pace }, note, either),
    ]);
    clearInterval(telling);

    note('settling');
    tell('all is imported and killed; waiting for what is under way');
    const settlingAt = performance.now();
    const open = await settle(observer, simulator, settleMs, (what) => tell(what.join('; ')), signal);
    const settled = { open, seconds: (performance.now() - settlingAt) / 1000 };
    await workers.stop();
    return await judge({ ...world, versions }, { usage, kills, settled, seconds });
  } finally {
    await endings.run();
  }
}

/** Runs both to their ends; the first that fails tells the other to give up, and is what this rejects with. */
async function together<One, Other>(
  signal: AbortSignal,
  [one, other]: [(either: AbortSignal) => Promise<One>, (either: AbortSignal) => Promise<Other>],
): Promise<[One, Other]> {
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  const giveUp = (error: unknown) => {
    failure.abort(error);
    throw error;
  };
  const ends = await Promise.allSettled([one(either).catch(giveUp), other(either).catch(giveUp)]);
  signal.throwIfAborted();
  failure.signal.throwIfAborted();
  const [first, second] = ends;
  if (first.status === 'rejected' || second.status === 'rejected') throw new Error('unreachable');
  return [first.value, second.value];
}
