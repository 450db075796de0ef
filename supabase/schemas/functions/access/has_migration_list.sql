-- API: internal
create or replace function rowmill.has_migration_list()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- Not a view: its functions would run with the reader's rights.
  select rowmill.may_read('supabase_migrations.schema_migrations') and exists (
    select
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'supabase_migrations' and c.relname = 'schema_migrations' and c.relkind = 'r'
  );
$$;
comment on function rowmill.has_migration_list is
  'Whether supabase_migrations.schema_migrations is an ordinary table of a role that is trusted, and may be read.';
revoke all on function rowmill.has_migration_list from public;
