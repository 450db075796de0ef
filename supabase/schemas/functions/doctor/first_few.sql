-- API: internal
create or replace function rowmill.first_few(parts text[], separator text default '; ')
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select array_to_string(first_few.parts[1:5], first_few.separator)
    || case
      when cardinality(first_few.parts) > 5 then format('%sand %s more', first_few.separator, cardinality(first_few.parts) - 5)
      else ''
    end;
$$;
comment on function rowmill.first_few is
  'The first five, and how many more there are.';
revoke all on function rowmill.first_few from public;
