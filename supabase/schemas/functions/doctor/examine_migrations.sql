-- API: internal
create or replace function rowmill.examine_migrations()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[];
  v_mistrust rowmill.finding := rowmill.judge_schema('supabase_migrations', array['schema_migrations']);
begin
  if v_mistrust.verdict is not null then
    return v_mistrust;
  end if;
  if not rowmill.has_migration_list() then
    return row('warning', 'no list tells which are applied', 'npm run migrate')::rowmill.finding;
  end if;
  -- Dynamic: the table need not be there when this function is made.
  execute $sql$
    select array_agg(m.name order by m.version) from supabase_migrations.schema_migrations as m where m.name ~ '^rowmill_\d'
  $sql$
  into v_names;
  if v_names is null then
    return row('fault', 'the list has none of Rowmill''s, and yet its functions are here', 'npm run migrate')::rowmill.finding;
  end if;
  return row('ok', format('applied: %s', array_to_string(v_names, ', ')), null)::rowmill.finding;
end;
$$;
comment on function rowmill.examine_migrations is 'Which migrations are applied. Which there are, npm run doctor knows.';
revoke all on function rowmill.examine_migrations from public;
