import { afterEach, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { settled } from '../support/service.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';
import { type OwnPostgres, startOwnPostgres } from './own-postgres.ts';

const rows = 100_000;

describe('four workers on 100,000 rows', () => {
  let database: OwnPostgres;
  let simulator: Simulator;
  const workers: WorkerProcess[] = [];
  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.kill();
    await simulator.close();
    await database.stop();
  });

  it('handle each chunk and each batch once, without a deadlock or an error', async () => {
    database = await startOwnPostgres();
    simulator = await startSimulator();
    const { sql } = database;
    await sql`update rowmill.settings set poll_every = '100 milliseconds'`;
    await createFilmsPipeline(sql);
    for (let n = 0; n < 4; n += 1) {
      workers.push(startWorkerProcess({ DATABASE_URL: database.url, OPENAI_BASE_URL: simulator.url }));
    }
    await Promise.all(workers.map((worker) => worker.logged('ready')));

    for (let from = 0; from < rows; from += 500) {
      await sql`
        insert into films (title)
        select 'Film ' || n from generate_series(${from + 1}::integer, ${from + 500}::integer) as n`;
    }
    await settled(sql, 'films', 120_000);

    const [counts] = await sql`
      select count(*)::integer as all, (count(*) filter (where summary like title || ':%'))::integer as right from films`;
    expect(counts).toEqual({ all: rows, right: rows });
    const { executed, repeatedPrompts, batchesCreated } = simulator.ledger.summary();
    const [chunks] = await sql`select count(*)::integer as count from rowmill.chunks`;
    const batches = await sql`select state from rowmill.batch_processing_details`;
    expect({ executed, repeatedPrompts, batchesCreated, intents: batches.length }).toEqual({
      ...{ executed: rows, repeatedPrompts: 0 },
      ...{ batchesCreated: chunks!.count, intents: chunks!.count },
    });
    expect(batches.filter(({ state }) => state !== 'done')).toEqual([]);

    // Whoever claimed a chunk submitted it, and all of them worked.
    for (const worker of workers) {
      expect(worker.child.exitCode, worker.output.error).toBeNull();
      expect(worker.lines.filter(({ level }) => level >= 40)).toEqual([]);
      expect(worker.lines.filter(({ msg }) => msg === 'batch created').length).toBeGreaterThan(0);
      expect(worker.output.error).toBe('');
    }
    const log = await database.log();
    expect(log.split('\n').filter((line) => /deadlock|ERROR|PANIC|FATAL/.test(line))).toEqual([]);
  });
});
