import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { styleText } from 'node:util';
import type postgres from 'postgres';
import type { Service } from '../../src/service.ts';
import { askForConsent, estimateCost, price } from './cost.ts';
import { importCsv, insertRows } from './csv-import.ts';
import { checkDatabase, connect, hurryPolls, placeOf, prepare, relaxPolls, table } from './database.ts';
import { openCsv, readFilms } from './films.ts';
import { follow } from './follow.ts';
import type { Options } from './options.ts';
import { missingLines, nextLines, numberLines, sampleLines } from './report.ts';
import type { Screen } from './screen.ts';
import { countChunks, readMissing, readSample, readStatus } from './status.ts';
import { count } from './text.ts';
import { watch } from './watch.ts';
import { type DemoConfig, logFile, readDemoConfig, startWorker } from './worker.ts';

/** The whole demo; resolves with the exit code once everything is stopped. Rejects when `signal` is aborted early. */
export async function runDemo(
  options: Options,
  env: NodeJS.ProcessEnv,
  screen: Screen,
  signal: AbortSignal,
): Promise<number> {
  const films = readFilms();
  const total = options.rows ?? films.length;
  const demo = await readDemoConfig(env);
  const { DATABASE_URL: given } = demo.config;
  if (given !== undefined) await checkDatabase(given);
  if (!demo.isSimulated) await askForConsent(estimateCost(films, total), options.yes);
  signal.throwIfAborted();

  screen.print(
    '',
    `  ${styleText('bold', 'Rowmill')}  ${count(total)} films go in, categories and summaries come out`,
    '',
  );
  screen.busy('starting', given === undefined ? 'an embedded Postgres and a worker' : 'a worker');
  const service = await startWorker(demo.config);
  const sql = connect(service.databaseUrl!);
  let restorePolls = async () => {};
  try {
    signal.throwIfAborted();
    if (demo.isSimulated) restorePolls = await hurryPolls(sql);
    else await relaxPolls(sql);
    announce(screen, service, demo);
    await prepare(sql);
    screen.done('table', `${table}, new and empty`);
    screen.done('pipeline', `movies: Title, Description → categories, summary (${price.model})`);
    const isComplete = await enrich(sql, screen, {
      ...options,
      films,
      total,
      signal,
      isSimulated: demo.isSimulated,
    });
    if (options.exit) {
      await tidyUp(sql, signal);
      return isComplete ? 0 : 1;
    }
    const psql = given === undefined ? `psql ${service.databaseUrl}` : 'psql "$DATABASE_URL"';
    screen.print(...nextLines(psql, service.url), '', `  ${styleText('bold', 'Ctrl-C stops the demo.')}`, '');
    await watch(sql, screen, signal);
    return 0;
  } finally {
    screen.busy('stopping', 'finishing what is in hand');
    await restorePolls().catch(() => {});
    await sql.end({ timeout: 1 });
    await service.stop();
    screen.print('  stopped');
  }
}

function announce(screen: Screen, service: Service, demo: DemoConfig): void {
  const place = placeOf(service.databaseUrl!);
  const isGiven = demo.config.DATABASE_URL !== undefined;
  screen.done('database', `${place} (${isGiven ? 'DATABASE_URL' : 'an embedded Postgres'})`);
  const simulator = 'a SIMULATOR: nothing is sent to OpenAI, nothing is paid';
  screen.done(
    'answers',
    demo.isSimulated ? styleText('yellow', simulator) : 'OpenAI, which is paid for them',
  );
  screen.done('worker', service.url + (demo.takenPort === null ? '' : ` (${demo.takenPort} is taken)`));
  screen.done('log', path.relative(process.cwd(), logFile));
}

type Work = Options & {
  films: ReturnType<typeof readFilms>;
  total: number;
  isSimulated: boolean;
  signal: AbortSignal;
};

/** Imports, follows, reports; resolves with whether every row is enriched. */
async function enrich(sql: postgres.Sql, screen: Screen, work: Work): Promise<boolean> {
  const { total, isSimulated } = work;
  const startedAt = performance.now();
  const csv = openCsv(work.films, work.rows);
  const imported = importCsv(csv, (rows) => insertRows(sql, table, rows));
  const usualSeconds = isSimulated ? Math.max(120, total / 200) : undefined;
  const timeoutSeconds = work.timeoutSeconds ?? usualSeconds;
  const status = await follow(sql, screen, {
    ...{ total, imported, signal: work.signal },
    timeoutMs: timeoutSeconds === undefined ? undefined : timeoutSeconds * 1000,
  }).finally(() => csv.destroy());
  const seconds = (performance.now() - startedAt) / 1000;
  const { statements } = await imported;

  const width = screen.width();
  const missing = await readMissing(sql, 10);
  screen.print(...sampleLines(await readSample(sql, 10, total), width));
  screen.print(
    ...numberLines({ status, total, statements, seconds, isSimulated, chunks: await countChunks(sql) }),
  );
  if (missing.count > 0) screen.print(...missingLines(missing, width));
  return missing.count === 0;
}

/** The files of a finished batch are still to be deleted at the provider; nobody does it once the demo is gone. */
async function tidyUp(sql: postgres.Sql, signal: AbortSignal): Promise<void> {
  for (let looks = 0; looks < 50; looks++) {
    const { open_batches: open } = await readStatus(sql);
    if (open === 0) return;
    await sleep(200, undefined, { signal });
  }
}
