-- API: internal
create or replace function rowmill.target_statement(
  source regclass,
  keys smallint[] -- the columns of its key, in the key's order
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    'create table %s (%s, summary text, primary key (%s));',
    (
      select format('%I.%I', n.nspname, c.relname || '_enriched')
      from pg_class as c
      join pg_namespace as n on n.oid = c.relnamespace
      where c.oid = target_statement.source
    ),
    string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by k.place),
    string_agg(quote_ident(a.attname), ', ' order by k.place)
  )
  from unnest(target_statement.keys) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = target_statement.source and a.attnum = k.attnum;
$$;
comment on function rowmill.target_statement is
  'A statement that makes a target for a source, for hints.';
revoke all on function rowmill.target_statement from public;
