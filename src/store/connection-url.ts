// Words to Prisma in the addresses that Supabase shows. Sent on, Postgres would refuse the connection for them.
const foreignParameters = ['pgbouncer', 'connection_limit'];

/**
 * Takes the address of a database; returns the one to connect to, and whether it goes through Supavisor or
 * PgBouncer in transaction mode (port 6543 at Supabase), which know no prepared statements.
 */
export function connectionUrl(given: string): { url: string; isTransactionPooler: boolean } {
  if (!URL.canParse(given)) return { url: given, isTransactionPooler: false };
  const url = new URL(given);
  const isTransactionPooler = url.port === '6543' || url.searchParams.get('pgbouncer') === 'true';
  const foreign = foreignParameters.filter((name) => url.searchParams.has(name));
  if (foreign.length === 0) return { url: given, isTransactionPooler };
  for (const name of foreign) url.searchParams.delete(name);
  return { url: url.href, isTransactionPooler };
}
