import postgres from 'postgres';
import { ensureSupabaseRoles } from './supabase-roles.ts';

// Any number that nothing else on the server locks.
const OWNER_LOCK = 7_280_521;

/**
 * The role that owns a Supabase project's database: Supabase's `postgres`, which may make roles and databases, passes over
 * row level security, and is no superuser. Returns the server's URL for it. Where `postgres` is the superuser itself, it
 * has another name.
 */
export async function ensureSupabaseOwner(adminUrl: string): Promise<string> {
  await ensureSupabaseRoles(adminUrl);
  const admin = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  try {
    const [found] = await admin<{ taken: boolean }[]>`
      select exists (select from pg_catalog.pg_roles where rolname = 'postgres' and rolsuper) as taken`;
    const name = found!.taken ? 'supabase_postgres' : 'postgres';
    await admin.begin(async (sql) => {
      await sql`select pg_catalog.pg_advisory_xact_lock(${OWNER_LOCK})`;
      await sql.unsafe(`
        do $$
        begin
          if to_regrole('${name}') is null then create role ${name}; end if;
          alter role ${name} with login nosuperuser createrole createdb bypassrls password '${name}';
          alter role ${name} set search_path = "$user", public, extensions;
          grant anon, authenticated, service_role, pg_monitor, pg_read_all_data, pg_signal_backend to ${name};
          -- Its own migration makes this role on Supabase; another run on this server may have been first.
          if to_regrole('rowmill_worker') is not null then
            grant rowmill_worker to ${name} with admin option;
          end if;
        end;
        $$`);
    });
    const url = new URL(adminUrl);
    url.username = name;
    url.password = name;
    return url.href;
  } finally {
    await admin.end({ timeout: 5 });
  }
}
