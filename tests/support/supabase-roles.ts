import postgres from 'postgres';

/** Whom a Data API connects as, and with what password. */
export const authenticator = { user: 'authenticator', password: 'authenticator' };

// Any number will do, as long as nothing else on the server locks it.
const ROLES_LOCK = 7_280_520;

/**
 * The roles of a Supabase project, with the time that each gives a statement there. A server keeps them: several runs may
 * share it, and ask for them at once.
 */
export async function ensureSupabaseRoles(adminUrl: string): Promise<void> {
  const sql = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  try {
    await sql.begin(async (tx) => {
      await tx`select pg_catalog.pg_advisory_xact_lock(${ROLES_LOCK})`;
      const roles = {
        anon: `nologin; alter role anon set statement_timeout = '3s'`,
        authenticated: `nologin; alter role authenticated set statement_timeout = '8s'`,
        service_role: 'nologin bypassrls',
        authenticator: `login noinherit password '${authenticator.password}';
          alter role authenticator set statement_timeout = '8s';
          alter role authenticator set lock_timeout = '8s';
          grant anon, authenticated, service_role to authenticator`,
      };
      for (const [name, rest] of Object.entries(roles)) {
        const found = await tx`select from pg_catalog.pg_roles where rolname = ${name}`;
        if (found.length === 0) await tx.unsafe(`create role ${name} ${rest}`);
      }
    });
  } finally {
    await sql.end({ timeout: 5 });
  }
}
