-- API: internal
create or replace function rowmill.examine_pg_net_worker()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_net text := 'net';
  v_database text := nullif(current_setting('pg_net.database_name', true), '');
  v_is_up boolean;
begin
  if not rowmill.has_pg_net() then
    return row('note', 'not needed without pg_net', 'See pg_net.')::rowmill.finding;
  end if;
  if v_database <> current_database() then
    return row(
      'fault', format('it serves database %I and no other', v_database),
      format('In postgresql.conf: pg_net.database_name = %L, then restart Postgres; or install Rowmill in %I.',
        current_database(), v_database)
    )::rowmill.finding;
  end if;
  if not pg_has_role(current_user, 'pg_read_all_stats', 'usage') then
    return row(
      'note', format('not known: %s may not see processes of others', current_user),
      format('grant pg_monitor to %I;', current_user)
    )::rowmill.finding;
  end if;
  if rowmill.may_use('net.check_worker_is_up', '{}') then
    begin
      execute format('select %I.check_worker_is_up()', v_net);
      v_is_up := true;
    exception when others then
      v_is_up := false;
    end;
  else
    v_is_up := exists (select from pg_stat_activity as a where a.backend_type ilike '%pg_net%');
  end if;
  if v_is_up then
    return row('ok', 'up', null)::rowmill.finding;
  end if;
  return row(
    'fault', 'down: what is posted stays in the queue',
    'Put pg_net into shared_preload_libraries and restart Postgres (in Supabase: restart the project).'
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_pg_net_worker is
  'Whether pg_net''s own worker runs, and serves this database.';
revoke all on function rowmill.examine_pg_net_worker from public;
