import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import postgres from 'postgres';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';
import { freePort } from '../../src/embedded/port.ts';
import { migrate } from '../../src/store/migrate.ts';

export type OwnPostgres = {
  url: string;
  /** A connection pool that comes back by itself after a crash. */
  sql: postgres.Sql;
  /** As a power cut would end it, but for what the kernel has in its memory. */
  crash(): Promise<void>;
  start(): Promise<void>;
  log(): Promise<string>;
  stop(): Promise<void>;
};

/** A server of the test's own, to be crashed: it comes back at the same address with the same data. */
export async function startOwnPostgres(settings: Record<string, string> = {}): Promise<OwnPostgres> {
  const directory = await mkdtemp(path.join(tmpdir(), 'rowmill-crash-'));
  await chmod(directory, 0o711);
  const port = await freePort();
  // Processes die here, not machines: what was written reaches the disk.
  const all = { fsync: 'off', max_connections: '100', ...settings };
  const launch = () => startEmbeddedPostgres({ directory, port, settings: all });
  let server: EmbeddedPostgres = await launch();
  await migrate({ url: server.url });
  const sql = postgres(server.url, {
    max: 4,
    onnotice: () => {},
    backoff: () => 0.1,
    types: { bigint: { to: 20, from: [20], serialize: String, parse: Number } },
  }) as unknown as postgres.Sql;
  return {
    url: server.url,
    sql,
    crash: () => server.kill(),
    async start() {
      server = await launch();
    },
    log: () => readFile(server.log, 'utf8'),
    async stop() {
      await sql.end({ timeout: 1 });
      await server.stop();
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Repeats a statement until a database that comes back has taken it. It must be harmless to repeat. */
export async function insist<Value>(statement: () => Promise<Value>): Promise<Value> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      return await statement();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
