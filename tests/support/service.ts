import pino from 'pino';
import type postgres from 'postgres';
import { readConfig } from '../../src/config.ts';
import { type Service, startService } from '../../src/service.ts';

export const ingestSecret = `whsec_${Buffer.from('a secret of thirty-two bytes ....').toString('base64')}`;

/** A worker over a database of the test's own, with the simulator, looking every second. */
export async function startTestService(
  databaseUrl: string,
  env: Record<string, string> = {},
): Promise<Service> {
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    PORT: '0',
    ROWMILL_INGEST_SECRET: ingestSecret,
    ROWMILL_TICK_CRON: '* * * * * *',
    ROWMILL_POLL_CRON: '* * * * * *',
    ...env,
  });
  return await startService(config, pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent', base: null }));
}

/** Polls and leases in a test's measure of time. */
export async function hurry(sql: postgres.Sql): Promise<void> {
  await sql`update rowmill.settings set poll_every = '100 milliseconds', fetch_after = '1 second', repost_after = '1 second'`;
}

/** Resolves with the first truthy value; rejects with the last one after `timeoutMs`. */
export async function waitFor<Value>(
  what: string,
  look: () => Promise<Value>,
  timeoutMs = 45_000,
): Promise<Exclude<Value, false | null | undefined | 0>> {
  const deadline = Date.now() + timeoutMs;
  let last: Value;
  do {
    last = await look();
    if (last) return last as Exclude<Value, false | null | undefined | 0>;
    await new Promise((resolve) => setTimeout(resolve, 50));
  } while (Date.now() < deadline);
  throw new Error(`waited ${timeoutMs} ms in vain for: ${what}; last: ${JSON.stringify(last)}`);
}
