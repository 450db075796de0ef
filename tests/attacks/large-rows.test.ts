import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitFor } from '../support/service.ts';
import { createFilms, createPipeline } from '../support/sql-factories.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';

// Three fill a file: so two files are on their way at once, and more wait.
const rows = 8;
const rowBytes = 10_000_000;

let database: TestDatabase;
let simulator: Simulator;
let worker: WorkerProcess;
beforeAll(async () => {
  database = await createDatabase();
  simulator = await startSimulator();
});
afterAll(async () => {
  await worker?.kill();
  await simulator.close();
  await database.drop();
});

// The kernel's own count of the worker's memory.
it.skipIf(!existsSync('/proc/self/status'))(
  'rows of 10 MB are enriched within the memory that the deployment gives a worker; a larger one fails alone',
  async () => {
    const { sql, url } = database;
    await createFilms(sql);
    await createPipeline(sql, { prompt: '{{title}}', flush_after: '1 second' });
    await sql`insert into films (id, title) select g, g || repeat('x', ${rowBytes}) from generate_series(1, ${rows}) as g`;
    await sql`insert into films (id, title) values (1000, repeat('y', 17000000))`;
    worker = startWorkerProcess({ DATABASE_URL: url, OPENAI_BASE_URL: simulator.url });
    await waitFor(
      'all rows have an end',
      async () => {
        const [status] = await sql`select enriched, failed from rowmill.pipeline_status`;
        return Number(status!.enriched) === rows && Number(status!.failed) === 1;
      },
      240_000,
    );
    const [failure] = await sql`select key, error_class, message from rowmill.row_failures`;
    expect(failure).toMatchObject({
      ...{ key: [1000], error_class: 'invalid_request' },
      message: expect.stringContaining('a row may have 16000000'),
    });
    const status = await readFile(`/proc/${worker.child.pid}/status`, 'utf8');
    const peakMb = (Number(/^VmHWM:\s+(\d+) kB/m.exec(status)![1]) * 1024) / 1e6;
    // deploy/kubernetes: 512 MiB.
    expect(peakMb).toBeLessThan(450);
  },
  300_000,
);
