import postgres from 'postgres';
import { isDatabaseUnreachable, RowmillError } from '../errors.ts';
import { inTime } from '../in-time.ts';
import { connectionUrl } from './connection-url.ts';
import { explainAway, isConnectionFailure, refusesWrites } from './database-away.ts';
import { missingMigrations } from './migrate.ts';
import { databaseEncoding } from './refuse-database.ts';
import { storableArgs } from './storable.ts';
import type { Transport } from './transport.ts';
import { writability } from './writability.ts';

/** Arguments whose JSON form Postgres cannot tell from its own: they go as text and are cast there. */
export const casts: Record<string, { type: string; write: (value: unknown) => string }> = {
  rows: { type: 'jsonb', write: JSON.stringify },
  answers: { type: 'jsonb', write: JSON.stringify },
  failures: { type: 'jsonb', write: JSON.stringify },
  left_over: { type: 'jsonb', write: JSON.stringify },
  twins: { type: 'jsonb', write: JSON.stringify },
  chunks: { type: 'jsonb', write: JSON.stringify },
  polls: { type: 'jsonb', write: JSON.stringify },
  chunk_ids: { type: 'bigint[]', write: (value) => `{${(value as number[]).join(',')}}` },
  leases: { type: 'text[]', write: (value) => `{${(value as string[]).map((id) => `"${id}"`).join(',')}}` },
};

/**
 * Calls the functions over postgres.js. Ids come as numbers: they stay far below 2^53. Rejects `database_unreachable`
 * where the connection failed or was lost; what was asked may then have been done. Rejects `database_read_only` and
 * `database_full` where the database takes no writes; what was asked was not done.
 *
 * A client that lost a connection is put away for a new one. In postgres.js 3.4.9 a connection that closes while a write
 * is buffered never writes again (its timer is cleared and not forgotten), so that the calls that it is given hang. Where
 * no other call of that client fails, nothing would tell: so a client that follows a loss answers within `patienceMs` as
 * long as it is younger than that, or counts as lost, too.
 *
 * A session keeps the `default_transaction_read_only` that it began with, and its server where another one was promoted. So
 * a client whose sessions take no writes is replaced, too, at most once in `renewAfterMs`; its calls in hand go on.
 */
export function createPostgresTransport(options: {
  url: string;
  maxConnections?: number;
  patienceMs?: number;
  renewAfterMs?: number;
}): Transport {
  const { patienceMs = 20_000, renewAfterMs = 10_000 } = options;
  const { url, isTransactionPooler } = connectionUrl(options.url);
  const prepare = !isTransactionPooler;
  const connect = () =>
    postgres(url, {
      max: options.maxConnections ?? 8,
      prepare,
      onnotice: () => {},
      connect_timeout: 10,
      // Its look at the array types is awaited by nobody: a connection that dies during it would take the process along.
      fetch_types: false,
      connection: { application_name: 'rowmill' },
      types: {
        bigint: { to: 20, from: [20], serialize: String, parse: Number },
        // Sent as an empty text.
        void: { to: 2278, from: [2278], serialize: String, parse: () => null },
      },
    });
  let current = connect();
  // By the steady clock, as all here.
  let connectedMs = performance.now();
  let lostMs: number | null = null;

  /** The next calls have a new client; what this one has under way may finish within `timeoutMs`. */
  function replace(client: typeof current, timeoutMs: number): void {
    if (client !== current) return;
    current = connect();
    connectedMs = performance.now();
    client.end({ timeout: timeoutMs / 1000 }).catch(() => {});
  }

  /** Calls with today's client; where that lost its connection, or was refused a write, the next call has a new one. */
  async function withClient<Value>(ask: (sql: typeof current) => Promise<Value>): Promise<Value> {
    const client = current;
    try {
      if (lostMs === null || performance.now() - lostMs > patienceMs) return await ask(client);
      return await inTime(ask(client), patienceMs, () => {
        const message = `The database is out of reach: no answer within ${patienceMs} ms after a connection was lost`;
        return new RowmillError('database_unreachable', message);
      });
    } catch (error) {
      if (isConnectionFailure(error) || isDatabaseUnreachable(error)) {
        if (client === current) lostMs = performance.now();
        replace(client, 5000);
      } else if (refusesWrites(error)?.code === 'database_read_only') renew(client);
      return explainAway(error);
    }
  }

  /** Its sessions are read-only, and fresh ones may not be. */
  function renew(client: typeof current): void {
    // No call of ours takes as long as its calls in hand have.
    if (performance.now() - connectedMs > renewAfterMs) replace(client, 120_000);
  }

  async function call(name: string, args: Record<string, unknown>): Promise<postgres.Row[]> {
    const given = Object.entries(storableArgs(args));
    const list = given.map(([arg], at) => `${arg} => $${at + 1}${castOf(arg)}`).join(', ');
    const values = given.map(([arg, value]) => {
      const cast = casts[arg];
      return cast && value !== null ? cast.write(value) : value;
    });
    const text = `select * from rowmill.${name}(${list})`;
    return await withClient(async (sql) => await sql.unsafe(text, values as never[], { prepare }));
  }

  return {
    maxRows: Number.POSITIVE_INFINITY,
    rows: async <Row>(name: string, args: Record<string, unknown>) => [...(await call(name, args))] as Row[],
    value: async <Value>(name: string, args: Record<string, unknown>) => {
      const [row] = await call(name, args);
      return Object.values(row ?? { value: null })[0] as Value;
    },
    missingMigrations: () => withClient((sql) => missingMigrations(sql)),
    writability: () =>
      withClient(async (sql) => {
        const answer = await writability(sql);
        if (answer !== 'writable') renew(sql);
        return answer;
      }),
    databaseEncoding: () => withClient((sql) => databaseEncoding(sql)),
    close: (timeoutMs) => current.end({ timeout: timeoutMs / 1000 }),
  };
}

function castOf(arg: string): string {
  const cast = casts[arg];
  return cast ? `::text::${cast.type}` : '';
}
