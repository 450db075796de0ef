import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '../src/embedded/port.ts';
import { createFaults } from '../src/simulator/create-faults.ts';
import { type Simulator, startSimulator } from '../src/simulator/simulator.ts';
import { migrate } from '../src/store/migrate.ts';
import { Connection } from './connection.ts';
import { startDatabase } from './database.ts';
import { type Elsewhere, startElsewhere } from './elsewhere.ts';
import type { Endings } from './endings.ts';
import { hostileModes, type Mode } from './hostile-modes.ts';
import { hostileSubject, prepareHostile } from './hostile-subjects.ts';
import { Tally } from './hostile-tally.ts';
import type { HostileOptions } from './options.ts';
import type { Subject } from './subjects.ts';
import { Workers } from './workers.ts';

const delays = { validatingMs: 20, perRequestMs: 0, finalizingMs: 20 };

export type HostileWorld = {
  databaseUrl: string;
  simulator: Simulator;
  elsewhere: Elsewhere;
  /** The modes, with the table of each. */
  modes: Map<Mode, Subject>;
  tally: Tally;
  workers: Workers;
  workerUrl: string;
  /** The harness' own connection. */
  observer: Connection;
};

/** Postgres with the tables, a provider with all modes, the other origin, and one worker. */
export async function startHostileWorld(
  { seed, keep, only }: Omit<HostileOptions, 'minutes'>,
  endings: Endings,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<HostileWorld> {
  const directory = await mkdtemp(path.join(tmpdir(), 'rowmill-hostile-'));
  if (keep) log(`everything is kept in ${directory}`);
  else endings.add(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  // Run by root, Postgres is another user, who has to pass through here.
  await chmod(directory, 0o711);
  const database = await startDatabase(directory);
  endings.add(() => database.stop());
  await migrate({ url: database.url });

  const elsewhere = await startElsewhere();
  endings.add(() => elsewhere.close());
  const chosen = hostileModes(elsewhere.url).filter(
    ({ pipeline }) => only === null || only.some((name) => pipeline.includes(name)),
  );
  const modes = new Map(chosen.map((mode) => [mode, hostileSubject(mode)]));
  const tally = new Tally();
  const rules = [...modes.keys()].flatMap((mode) => mode.rules);
  const faults = tally.watch(createFaults(rules, { seed }));
  const simulator = await startSimulator({ delays, faults });
  endings.add(() => simulator.close());

  const observer = new Connection(database.url, signal);
  endings.add(() => observer.close());
  await prepareHostile(observer, [...modes.values()]);
  const port = await freePort();
  const workers = new Workers(directory, database.url, simulator.url, { PORT: String(port) });
  endings.add(() => workers.kill());
  await workers.start(1);
  const workerUrl = `http://127.0.0.1:${port}`;
  return { databaseUrl: database.url, simulator, elsewhere, modes, tally, workers, workerUrl, observer };
}
