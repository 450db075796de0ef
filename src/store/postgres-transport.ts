import postgres from 'postgres';
import { connectionUrl } from './connection-url.ts';
import { missingMigrations } from './migrate.ts';
import type { Transport } from './transport.ts';

/** Arguments whose JSON form Postgres cannot tell from its own: they go as text and are cast there. */
const casts: Record<string, { type: string; write: (value: unknown) => string }> = {
  rows: { type: 'jsonb', write: JSON.stringify },
  answers: { type: 'jsonb', write: JSON.stringify },
  failures: { type: 'jsonb', write: JSON.stringify },
  provider_errors: {
    type: 'jsonb',
    write: (value) => JSON.stringify(value, (_key, inner) => storable(inner)),
  },
  chunk_ids: { type: 'bigint[]', write: (value) => `{${(value as number[]).join(',')}}` },
  places: { type: 'integer[]', write: (value) => `{${(value as number[]).join(',')}}` },
};

/**
 * Calls the functions over postgres.js. Ids come as numbers: they stay far below 2^53.
 */
export function createPostgresTransport(options: { url: string; maxConnections?: number }): Transport {
  const { url, isTransactionPooler } = connectionUrl(options.url);
  const prepare = !isTransactionPooler;
  const sql = postgres(url, {
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
      return cast && value !== null ? cast.write(value) : storable(value);
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

/** A provider's message may hold what no Postgres text can; what it says of a batch is not to be lost to that. */
function storable(value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll('\0', '\u2400').toWellFormed() : value;
}
