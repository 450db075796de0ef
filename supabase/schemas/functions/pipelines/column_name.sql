-- API: internal
create or replace function rowmill.column_name(source regclass, attnum integer)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select a.attname::text
  from pg_attribute as a
  where a.attrelid = column_name.source
  and a.attnum = column_name.attnum
  and not a.attisdropped;
$$;
comment on function rowmill.column_name is
  'Today''s name of a column by its number; null once it was dropped.';
revoke all on function rowmill.column_name from public;
