import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { migrate } from '../src/store/migrate.ts';
import { benchApplies } from './applies.ts';
import { benchEndToEnd, benchWorkers } from './end-to-end.ts';
import { benchIdle } from './idle.ts';
import { benchInserts } from './inserts.ts';
import { printRows, type Row } from './measure.ts';
import { benchStatus } from './status.ts';
import { benchTokens } from './tokens.ts';
import { benchUpdates } from './updates.ts';

const usage = `usage: npm run bench [-- options]
  --runs N       runs of each measurement, medians are printed (5)
  --only NAME    inserts, updates, applies, end-to-end, workers, idle, tokens or status
  --database URL an empty database instead of an embedded Postgres`;

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    only: { type: 'string' },
    database: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const runs = Number(values.runs);
if (values.help || !Number.isInteger(runs) || runs < 1) {
  process.stdout.write(`${usage}\n`);
  process.exit(values.help ? 0 : 1);
}

const benches: Record<string, (sql: postgres.Sql, url: string) => Promise<Row[]>> = {
  inserts: (sql) => benchInserts(sql, runs),
  updates: (sql) => benchUpdates(sql, runs),
  applies: (sql) => benchApplies(sql, runs),
  'end-to-end': (sql, url) => benchEndToEnd(sql, url, runs),
  workers: (sql, url) => benchWorkers(sql, url, runs),
  idle: (sql, url) => benchIdle(sql, url),
  tokens: () => benchTokens(runs),
  status: (sql) => benchStatus(sql),
};
if (values.only !== undefined && !(values.only in benches)) {
  process.stderr.write(`--only expects one of ${Object.keys(benches).join(', ')}, came ${values.only}\n`);
  process.exit(1);
}

const directory = await mkdtemp(path.join(tmpdir(), 'rowmill-bench-'));
const database = values.database === undefined ? await startDatabase() : null;
try {
  const url = values.database ?? database!.url;
  await migrate({ url });
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  const [server] = await sql<{ version: string }[]>`select version()`;
  process.stdout.write(
    `${server!.version}\nnode ${process.version}, ${runs} runs of each, medians; ratios are against the same work without Rowmill\n\n`,
  );
  const rows: Row[] = [];
  for (const [name, bench] of Object.entries(benches)) {
    if (values.only !== undefined && values.only !== name) continue;
    process.stderr.write(`${name} …\n`);
    rows.push(...(await bench(sql, url)));
  }
  printRows(rows);
  await sql.end();
} finally {
  await database?.stop();
  await rm(directory, { recursive: true, force: true });
}

async function startDatabase() {
  const { startEmbeddedPostgres } = await import('../src/embedded/embedded-postgres.ts');
  return await startEmbeddedPostgres({ directory });
}
