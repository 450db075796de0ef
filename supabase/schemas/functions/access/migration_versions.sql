-- API: worker
create or replace function rowmill.migration_versions()
returns setof text
language plpgsql
stable
security definer -- the worker may read nothing else in that schema
set search_path = pg_catalog, pg_temp
as $$
begin
  if not rowmill.has_migration_list() then
    raise exception using errcode = 'object_not_in_prerequisite_state',
      message = 'supabase_migrations.schema_migrations is not a table that Rowmill may trust and read',
      detail = format('Expected an ordinary table that belongs to %I or to a superuser, in a schema that does.', current_user),
      hint = 'Where there is none: npm run migrate. Where it is another role''s: drop it, or change its owner. '
        'select * from rowmill.doctor() says whose it is.';
  end if;
  return query execute 'select m.version from supabase_migrations.schema_migrations as m order by m.version';
end;
$$;
comment on function rowmill.migration_versions is
  'The versions that are applied, wherever they came from: the Supabase CLI, npm run migrate or a worker. '
  'Raises where the list is not a table of a role that is trusted.';
revoke all on function rowmill.migration_versions from public;
