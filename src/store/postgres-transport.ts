import postgres from 'postgres';
import { missingMigrations } from './migrate.ts';
import type { Transport } from './transport.ts';

/** Arguments whose JSON form Postgres cannot tell from its own: they go as text and are cast there. */
const casts: Record<string, { type: string; write: (value: unknown) => string }> = {
  rows: { type: 'jsonb', write: JSON.stringify },
  answers: { type: 'jsonb', write: JSON.stringify },
  failures: { type: 'jsonb', write: JSON.stringify },
  provider_errors: { type: 'jsonb', write: JSON.stringify },
  chunk_ids: { type: 'bigint[]', write: (value) => `{${(value as number[]).join(',')}}` },
  places: { type: 'integer[]', write: (value) => `{${(value as number[]).join(',')}}` },
};

/**
 * Calls the functions over postgres.js. Ids come as numbers: they stay far below 2^53.
 * Supavisor and PgBouncer in transaction mode (port 6543 at Supabase) know no prepared statements.
 */
export function createPostgresTransport(options: { url: string; maxConnections?: number }): Transport {
  const prepare = !isTransactionPooler(options.url);
  const sql = postgres(options.url, {
    max: options.maxConnections ?? 8,
    prepare,
    onnotice: () => {},
    connection: { application_name: 'rowmill' },
    types: {
      bigint: { to: 20, from: [20], serialize: String, parse: Number },
    },
  });

  async function call(name: string, args: Record<string, unknown>): Promise<postgres.Row[]> {
    const names = Object.keys(args);
    const list = names.map((arg, at) => `${arg} => $${at + 1}${castOf(arg)}`).join(', ');
    const values = names.map((arg) => {
      const cast = casts[arg];
      const value = args[arg] ?? null;
      return cast && value !== null ? cast.write(value) : value;
    });
    return await sql.unsafe(`select * from rowmill.${name}(${list})`, values as never[], { prepare });
  }

  return {
    rows: async <Row>(name: string, args: Record<string, unknown>) => (await call(name, args)) as Row[],
    value: async <Value>(name: string, args: Record<string, unknown>) => {
      const [row] = await call(name, args);
      return Object.values(row ?? { value: null })[0] as Value;
    },
    missingMigrations: () => missingMigrations(sql),
    close: (timeoutMs) => sql.end({ timeout: timeoutMs / 1000 }),
  };
}

function castOf(arg: string): string {
  const cast = casts[arg];
  return cast ? `::text::${cast.type}` : '';
}

function isTransactionPooler(url: string): boolean {
  try {
    const parsed = new URL(url);
    return parsed.port === '6543' || parsed.searchParams.get('pgbouncer') === 'true';
  } catch {
    return false;
  }
}
