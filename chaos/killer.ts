import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from './database.ts';
import type { ChaosOptions } from './options.ts';
import type { Pace } from './pace.ts';
import { createRandom, type Random } from './random.ts';
import type { Workers } from './workers.ts';

/** Longer than the lease that the run sets: a paused worker wakes up and finds itself robbed. */
const pauseMs = { least: 3500, most: 6500 };
const betweenMs = { least: 300, most: 1200 };
const downMs = { least: 0, most: 1500 };

export type KillCounts = { worker: number; backend: number; server: number; pause: number };

/** Kills as often as was asked, one after another; resolves when the last paused worker goes on. */
export async function killThings(
  options: Pick<ChaosOptions, 'kills' | 'seed' | 'only'>,
  { workers, database, pace }: { workers: Workers; database: Database; pace: Pace },
  note: (event: string) => void,
  signal: AbortSignal,
): Promise<KillCounts> {
  const random = createRandom(options.seed, 'killer');
  const counts: KillCounts = { worker: 0, backend: 0, server: 0, pause: 0 };
  const pauses: Promise<unknown>[] = [];
  const deck = deals(random, options.only);
  while (pace.killsDone < options.kills) {
    await delay(random.between(betweenMs.least, betweenMs.most), undefined, { signal });
    await pace.forKill(signal);
    const kind = deck.next().value;
    note(kind);
    if (kind === 'worker' && !workers.killOne(random)) continue;
    if (kind === 'backend' && !(await database.killOne(random))) continue;
    if (kind === 'server') await database.killAll(random.between(downMs.least, downMs.most));
    if (kind === 'pause') {
      const pause = workers.pauseOne(random, random.between(pauseMs.least, pauseMs.most), signal);
      if (!pause) continue;
      // Rejects where the run is given up, which this loop finds out by itself.
      pause.catch(() => {});
      pauses.push(pause);
    }
    counts[kind] += 1;
    pace.killed();
  }
  await Promise.all(pauses);
  return counts;
}

/** Of twenty kills, three hit Postgres, by turns one process and all of them, one is a pause, the rest hit workers. */
function* deals(random: Random, only: ChaosOptions['only']): Generator<keyof KillCounts, never> {
  const suits = {
    workers: ['worker'],
    pauses: ['pause'],
    postgres: ['backend', 'server'],
    all: [...Array<'worker'>(16).fill('worker'), 'backend', 'server', 'pause'],
  } as const;
  for (let round = 0; ; round += 1) {
    const third = round % 2 === 0 ? 'backend' : 'server';
    const deck: (keyof KillCounts)[] = only ? [...suits[only]] : [...suits.all, third];
    while (deck.length > 0) yield deck.splice(random.between(0, deck.length - 1), 1)[0]!;
  }
}
