import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from './connection.ts';
import { Endings } from './endings.ts';
import { figuresOf, openHealthyRows, type Phase, untilFirstAnswer } from './hostile-figures.ts';
import { judgeHostile } from './hostile-judge.ts';
import { startHealthyLoad, startHostileLoad } from './hostile-load.ts';
import { Watch } from './hostile-watch.ts';
import { startHostileWorld } from './hostile-world.ts';
import type { HostileOptions } from './options.ts';
import type { Report } from './report.ts';
import type { Progress } from './run.ts';

export type HostileRun = HostileOptions & {
  /** Rows a second into the healthy tables. */
  rate?: number;
  /** How long the healthy pipelines run alone before that; a tenth of the time beside the others, within bounds. */
  aloneSeconds?: number;
  leastShare?: number;
};

// What is under way of a load that is borne; what waited for the first answer is worked off then.
const steadySeconds = 3;
const steadyMs = 60_000;
// Beyond the deadline of a call to the provider, so that what drips has been given up once.
const settleMs = 120_000;

/**
 * Runs healthy pipelines alone, and then beside pipelines whose batches the provider answers in every hostile way that
 * it has; judges by what the healthy ones lose, what the worker needs, and what is written. Everything it starts is
 * ended when it returns or rejects; it rejects where the signal is aborted, or where the run itself could not be made.
 */
export async function runHostile(
  { minutes, rate = 200, leastShare = 0.9, ...options }: HostileRun,
  { log = () => {}, signal = new AbortController().signal }: Progress = {},
): Promise<Report> {
  const startedAt = performance.now();
  const seconds = () => ((performance.now() - startedAt) / 1000).toFixed(1);
  const tell = (line: string) => log(`${seconds()} s: ${line}`);
  const { aloneSeconds = Math.min(60, Math.max(15, minutes * 6)), seed } = options;
  const endings = new Endings();
  try {
    const world = await startHostileWorld(options, endings, log, signal);
    const load = startHealthyLoad(world.databaseUrl, rate, seed, signal);
    await untilFirstAnswer(world.observer, signal);
    await untilSteady(world.observer, rate, signal);
    const watch = new Watch(world);
    endings.add(() => watch.end());
    tell(`the healthy pipelines run alone, for ${aloneSeconds} s`);
    const alone = await phase(aloneSeconds * 1000, signal);

    tell(`${world.modes.size} hostile pipelines join them, for ${minutes} min`);
    const hostileLoad = startHostileLoad(world, seed, signal);
    const beside = await phase(minutes * 60_000, signal);
    const refusals = [...(await load.stop()), ...(await hostileLoad.stop())];

    tell('waiting for the healthy rows that are under way, and for what the hostile pipelines have to say');
    const deadline = performance.now() + settleMs;
    const isSettled = async () =>
      watch.silent.length + world.tally.unseen([...world.modes.keys()]).length === 0 &&
      (await openHealthyRows(world.observer)) === 0;
    while (!(await isSettled()) && performance.now() < deadline) await delay(500, undefined, { signal });
    await watch.stop(world);
    await world.workers.stop();
    return await judgeHostile(world, {
      ...{ watch, refusals, leastShare, seconds },
      alone: await figuresOf(world.observer, alone),
      beside: await figuresOf(world.observer, beside),
    });
  } finally {
    await endings.run();
  }
}

async function untilSteady(observer: Connection, rate: number, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + steadyMs;
  while ((await openHealthyRows(observer)) > rate * steadySeconds && performance.now() < deadline)
    await delay(500, undefined, { signal });
}

async function phase(ms: number, signal: AbortSignal): Promise<Phase> {
  const from = new Date();
  await delay(ms, undefined, { signal });
  return { from, to: new Date() };
}
