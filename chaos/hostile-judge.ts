import type { Connection } from './connection.ts';
import type { Figures } from './hostile-figures.ts';
import { judgeAllRows } from './hostile-judge-rows.ts';
import type { Watch } from './hostile-watch.ts';
import type { HostileWorld } from './hostile-world.ts';
import { bounded, demanded, type Fact, type Report, reportOf, shown, some } from './report.ts';

/** What happened. */
export type HostileHistory = {
  alone: Figures;
  beside: Figures;
  watch: Watch;
  refusals: string[];
  /** The part of the throughput alone that is demanded beside the hostile ones. */
  leastShare: number;
  seconds: () => string;
};

const mostMb = 400;

/** Gathers the facts, each with what is allowed of it. The worker has ended. */
export async function judgeHostile(world: HostileWorld, history: HostileHistory): Promise<Report> {
  const { observer, simulator, elsewhere, modes, tally, workers } = world;
  const { alone, beside, watch, refusals, leastShare } = history;
  const { facts, hostile } = await judgeAllRows(observer, simulator, modes);
  const stray = await strayLines(observer);
  const silent: string[] = [];
  const told: Fact[] = [...hostile].map(([{ name }, { rows, right, failed }]) => {
    const said = [...(watch.sentences.get(name) ?? [])].map(([where, sentence]) => `${where}: ${sentence}`);
    // A pipeline whose rows are all answered has nothing to complain of.
    if (said.length === 0 && right < rows)
      silent.push(`${name}: ${right} of ${rows} rows enriched, ${failed} failed`);
    const lines = stray.get(name);
    return shown(name, `${right} of ${rows}`, [
      ...(said.length > 0 ? said : ['says nothing']),
      ...(lines === undefined ? [] : [`lines that nobody asked for: ${lines}`]),
    ]);
  });
  const unseen = tally.unseen([...modes.keys()]);
  return reportOf([
    ...figures('alone', alone),
    ...figures('beside the hostile ones', beside),
    bounded('throughput beside them, of that alone', round(beside.perSecond / alone.perSecond), {
      least: leastShare,
    }),
    bounded('most memory of the worker, MB', watch.peakMb, { most: mostMb }),
    ...facts,
    demanded(
      'requests that reached another origin',
      elsewhere.arrivals.length,
      some(elsewhere.arrivals, String),
    ),
    demanded('hostile pipelines that do not say what is wrong', silent.length, some(silent, String, 30)),
    demanded('hostile ways that were never met', unseen.length, some(unseen, String, 30)),
    demanded(
      'workers that ended unasked, or did not end when asked',
      workers.unasked.length,
      some(workers.unasked, ({ pid, how, log }) => `${pid}: ${how}\n${log}`),
    ),
    demanded('probes refused or not answered', watch.refusedProbes.length, some(watch.refusedProbes, String)),
    shown('slowest probe, ms', watch.slowestProbeMs),
    demanded('statements of users refused', refusals.length, some(refusals, String)),
    shown('hostile pages of lists', tally.of('list') + tally.of('list_files')),
    shown('provider: batches created', simulator.ledger.batchesCreated),
    shown('memory of the simulator and this harness, MB', Math.round(process.resourceUsage().maxRSS / 1024)),
    shown('seconds in all', history.seconds()),
    shown('rows enriched, by hostile pipeline, and what it says', ''),
    ...told,
  ]);
}

/** By pipeline: lines that were counted and not taken. */
async function strayLines(observer: Connection): Promise<Map<string, number>> {
  const rows = await observer.run(
    (sql) => sql<{ name: string; lines: number }[]>`
      select b.pipeline as name, sum(b.lines_unknown + b.lines_duplicate)::float8 as lines
      from rowmill.batch_status as b group by b.pipeline having sum(b.lines_unknown + b.lines_duplicate) > 0`,
  );
  return new Map(rows.map(({ name, lines }) => [name, lines]));
}

function figures(
  when: string,
  { inserted, enriched, perSecond, medianSeconds, ninetiethSeconds }: Figures,
): Fact[] {
  return [
    shown(`${when}: healthy rows inserted`, inserted),
    shown(`${when}: healthy rows enriched`, enriched),
    shown(`${when}: enriched a second`, round(perSecond)),
    shown(`${when}: seconds to the answer, median`, round(medianSeconds)),
    shown(`${when}: seconds to the answer, 90th percentile`, round(ninetiethSeconds)),
  ];
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
