-- API: internal
create or replace function rowmill.are_triggers_silenced()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select current_setting('session_replication_role') = 'replica' or exists (
    select
    from pg_db_role_setting as s
    cross join lateral unnest(s.setconfig) as c(setting)
    where s.setdatabase in (0, (select d.oid from pg_database as d where d.datname = current_database()))
    and c.setting = 'session_replication_role=replica'
  );
$$;
comment on function rowmill.are_triggers_silenced is
  'Whether session_replication_role is replica here, or for some role or database: then triggers do not fire.';
revoke all on function rowmill.are_triggers_silenced from public;
