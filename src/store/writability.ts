import type postgres from 'postgres';
import type { Writability } from './transport.ts';

/** Whether this session may write. */
export async function writability(sql: postgres.Sql): Promise<Writability> {
  const [row] = await sql<{ is_standby: boolean; read_only: string }[]>`
    select
      pg_catalog.pg_is_in_recovery() as is_standby,
      pg_catalog.current_setting('transaction_read_only') as read_only`;
  if (row!.is_standby) return 'standby';
  return row!.read_only === 'on' ? 'read_only' : 'writable';
}
