import { setTimeout as delay } from 'node:timers/promises';
import { Connection } from './connection.ts';
import type { HostileWorld } from './hostile-world.ts';
import { createRandom } from './random.ts';
import { subjects as healthy, type Subject } from './subjects.ts';
import { Versions } from './versions.ts';
import { Writer } from './writer.ts';

const beatMs = 100;
/** Between two looks at which hostile pipelines want more. */
const waveMs = 5_000;
// Two batches a wave, and never many at once: what nobody settles must not pile up.
const waveRows = 6;
const openBatches = 4;

/** Users who write on and on. */
export type Load = {
  /** Ends it, and resolves with what Postgres refused. */
  stop(): Promise<string[]>;
};

/** So many rows a second into the healthy tables by turns, by the clock: a late beat brings more. */
export function startHealthyLoad(url: string, rate: number, seed: number, signal: AbortSignal): Load {
  return startLoad(url, seed, signal, async (writer, ends) => {
    const startedAt = performance.now();
    const nextId = new Map(healthy.map((subject) => [subject, 1]));
    let turn = 0;
    for (let written = 0; !ends.aborted; ) {
      const due = Math.floor((rate * (performance.now() - startedAt)) / 1000) - written;
      if (due > 0) {
        const subject = healthy[turn++ % healthy.length]!;
        await insert(writer, subject, nextId, due);
        written += due;
      }
      await delay(beatMs, undefined, { signal: ends }).catch(() => {});
    }
  });
}

/** Keeps a few batches of each hostile pipeline under way. */
export function startHostileLoad(world: HostileWorld, seed: number, signal: AbortSignal): Load {
  return startLoad(world.databaseUrl, seed, signal, async (writer, ends, connection) => {
    const nextId = new Map([...world.modes.values()].map((subject) => [subject, 1]));
    while (!ends.aborted) {
      const busy = new Set(await busyPipelines(connection));
      for (const subject of nextId.keys()) {
        if (!busy.has(subject.name)) await insert(writer, subject, nextId, waveRows);
      }
      await delay(waveMs, undefined, { signal: ends }).catch(() => {});
    }
  });
}

async function busyPipelines(connection: Connection): Promise<string[]> {
  const rows = await connection.run(
    (sql) => sql<{ name: string }[]>`
      select s.name from rowmill.pipeline_status as s
      where s.open_batches >= ${openBatches} or s.pending + s.waiting + s.retrying >= ${waveRows}`,
  );
  return rows.map(({ name }) => name);
}

function startLoad(
  url: string,
  seed: number,
  signal: AbortSignal,
  write: (writer: Writer, ends: AbortSignal, connection: Connection) => Promise<void>,
): Load {
  const end = new AbortController();
  const connection = new Connection(url, signal);
  const writer = new Writer(connection, new Versions(), createRandom(seed, 'load'));
  const writing = write(writer, AbortSignal.any([end.signal, signal]), connection).finally(() =>
    connection.close(),
  );
  // Told to who stops it, who may come later than the failure.
  writing.catch(() => {});
  return {
    async stop() {
      end.abort();
      await writing;
      return connection.refusals;
    },
  };
}

async function insert(
  writer: Writer,
  subject: Subject,
  nextId: Map<Subject, number>,
  count: number,
): Promise<void> {
  const from = nextId.get(subject)!;
  nextId.set(subject, from + count);
  const ids = Array.from({ length: count }, (_, at) => from + at);
  await writer.write({ kind: 'small', subject, ids, undoneIds: [] });
}
