import { expectations } from './expected.ts';
import { judgeDatabase } from './judge-database.ts';
import { judgeProvider } from './judge-provider.ts';
import { judgeRows } from './judge-rows.ts';
import { judgeWrites } from './judge-writes.ts';
import type { KillCounts } from './killer.ts';
import { demanded, type Report, reportOf, shown, some } from './report.ts';
import type { Usage } from './users.ts';
import type { Versions } from './versions.ts';
import type { World } from './world.ts';

/** What happened. */
export type History = {
  usage: Usage;
  kills: KillCounts;
  settled: { open: string[]; seconds: number };
  seconds: () => string;
};

/** Gathers the facts, each with what is allowed of it. The workers have ended. */
export async function judge(world: World & { versions: Versions }, history: History): Promise<Report> {
  const { observer, simulator, workers, versions, trace, database } = world;
  const { usage, kills, settled } = history;
  const expected = await expectations(observer);
  return reportOf([
    ...(await judgeRows(observer, expected, usage, versions)),
    ...(await judgeWrites(observer, expected)),
    ...(await judgeProvider(observer, simulator, expected, versions, trace)),
    ...(await judgeDatabase(observer, database.log)),
    demanded(
      'workers that ended unasked',
      workers.unasked.length,
      some(workers.unasked, ({ pid, how, log }) => `${pid}: ${how}\n${log}`),
    ),
    demanded('statements of users refused', usage.refusals.length, some(usage.refusals, String)),
    demanded('not settled in time', settled.open.length, settled.open),
    shown('rows edited', usage.edited),
    shown('rows edited where no prompt looks', usage.annotated),
    shown('rows deleted', usage.deleted),
    shown('rows rolled back', usage.undone),
    shown('kills: workers', kills.worker),
    shown('kills: one process of Postgres', kills.backend),
    shown('kills: all of Postgres', kills.server),
    shown('kills: workers paused beyond their lease', kills.pause),
    shown('worker processes started', workers.started),
    shown('seconds until all was quiet', settled.seconds.toFixed(1)),
    shown('seconds in all', history.seconds()),
  ]);
}
