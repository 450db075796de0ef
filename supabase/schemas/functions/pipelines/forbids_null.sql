-- API: internal
create or replace function rowmill.forbids_null(type oid)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive domains(base, forbids) as (
    select t.typbasetype, t.typnotnull from pg_type as t where t.oid = forbids_null.type and t.typtype = 'd'
    union all
    select t.typbasetype, t.typnotnull from domains as d join pg_type as t on t.oid = d.base and t.typtype = 'd'
  )
  select coalesce(bool_or(d.forbids), false) from domains as d;
$$;
comment on function rowmill.forbids_null is
  'Whether a type is a domain that is "not null", or stands over one that is.';
revoke all on function rowmill.forbids_null from public;
