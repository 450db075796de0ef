import { appendFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Simulator, startSimulator } from '../src/simulator/simulator.ts';
import { migrate } from '../src/store/migrate.ts';
import { Connection } from './connection.ts';
import { type Database, startDatabase } from './database.ts';
import type { Endings } from './endings.ts';
import { chaosFaults } from './faults.ts';
import type { ChaosOptions } from './options.ts';
import { prepareTables } from './tables.ts';
import { Trace } from './trace.ts';
import { Workers } from './workers.ts';

const delays = { validatingMs: 20, perRequestMs: 0, finalizingMs: 20 };

export type World = {
  database: Database;
  simulator: Simulator;
  workers: Workers;
  trace: Trace;
  /** The harness' own connection. */
  observer: Connection;
  /** Writes an event down beside the logs, with its time. */
  note(event: string): void;
};

/** Postgres, migrated and with the tables, the provider, and the workers; what ends them is added to the endings. */
export async function startWorld(
  options: ChaosOptions,
  endings: Endings,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<World> {
  const directory = await mkdtemp(path.join(tmpdir(), 'rowmill-chaos-'));
  if (options.keep) log(`everything is kept in ${directory}`);
  else endings.add(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  // Run by root, Postgres is another user, who has to pass through here.
  await chmod(directory, 0o711);
  const database = await startDatabase(directory);
  endings.add(() => database.stop());
  await migrate({ url: database.url });

  const trace = new Trace();
  const faults = trace.watch(options.faults ? chaosFaults(options.seed) : {});
  const simulator = await startSimulator({ delays, faults });
  endings.add(() => simulator.close());
  const observer = new Connection(database.url, signal);
  endings.add(() => observer.close());
  await prepareTables(observer);
  const workers = new Workers(directory, database.url, simulator.url);
  endings.add(() => workers.kill());
  await workers.start(options.workers);

  const events = path.join(directory, 'events.log');
  const note = (event: string) => appendFileSync(events, `${new Date().toISOString()} ${event}\n`);
  return { database, simulator, workers, trace, observer, note };
}
