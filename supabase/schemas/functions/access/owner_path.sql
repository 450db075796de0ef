-- API: internal
create or replace function rowmill.owner_path()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner oid := (select n.nspowner from pg_namespace as n where n.nspname = 'rowmill');
  v_setting text;
begin
  -- In the order in which Postgres has them: the role's before the database's, this database's before all databases'.
  select substr(c.setting, length('search_path=') + 1) into v_setting
  from pg_db_role_setting as s
  join pg_database as d on d.datname = current_database() and s.setdatabase in (0, d.oid)
  cross join lateral unnest(s.setconfig) as c(setting)
  where s.setrole in (0, v_owner) and starts_with(c.setting, 'search_path=')
  order by s.setrole <> 0 desc, s.setdatabase <> 0 desc
  limit 1;
  perform set_config('search_path', coalesce(v_setting, '"$user", public'), true);
  return (
    select concat_ws(', ', 'pg_catalog', string_agg(quote_ident(n.nspname), ', ' order by p.place), 'pg_temp')
    from unnest(current_schemas(false)) with ordinality as p(name, place)
    join pg_namespace as n on n.nspname = p.name
    where n.nspname not in ('pg_catalog', 'pg_temp') and not rowmill.lets_strangers_in(n.oid)
  );
end;
$$;
comment on function rowmill.owner_path is
  'The search_path of a session of Rowmill''s owner, as roles and databases are set up, with pg_catalog first and pg_temp last, for '
  'triggers that name things without their schema. It is never the caller''s, and leaves out schemas in which others may create.';
revoke all on function rowmill.owner_path from public;
