-- API: internal
create or replace function rowmill.json_format(type oid)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when json_format.type = 'uuid'::regtype then 'uuid'
    when json_format.type = 'date'::regtype then 'date'
    when json_format.type in ('timestamp'::regtype, 'timestamptz'::regtype) then 'date-time'
    when json_format.type = 'interval'::regtype then 'duration'
    when json_format.type in ('time'::regtype, 'timetz'::regtype) then 'time'
  end;
$$;
comment on function rowmill.json_format is
  'JSON Schema''s "format" of a base type whose values are strings of one form; null for any other.';
revoke all on function rowmill.json_format from public;
