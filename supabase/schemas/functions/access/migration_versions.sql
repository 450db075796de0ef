-- API: worker
create or replace function rowmill.migration_versions()
returns setof text
language plpgsql
stable
security definer -- the worker may read nothing else in that schema
set search_path = pg_catalog, pg_temp
as $$
begin
  return query execute 'select m.version from supabase_migrations.schema_migrations as m order by m.version';
end;
$$;
comment on function rowmill.migration_versions is
  'The versions that are applied, wherever they came from: the Supabase CLI, npm run migrate or a worker.';
revoke all on function rowmill.migration_versions from public;
