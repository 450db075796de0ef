import postgres from 'postgres';

/** Creates the database where it is missing; harmless to repeat. Raises what Postgres raises. */
export async function ensureDatabase(url: string, name: string): Promise<void> {
  const sql = postgres(url, { max: 1 });
  try {
    const found = await sql`select 1 from pg_catalog.pg_database where datname = ${name}`;
    if (found.length === 0) await sql`create database ${sql(name)}`;
  } finally {
    await sql.end();
  }
}
