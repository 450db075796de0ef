-- API: internal
create or replace function rowmill.may_read(relation text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- As may_use: to_regclass would raise.
  select exists (
    select
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = split_part(may_read.relation, '.', 1)
    and c.relname = split_part(may_read.relation, '.', 2)
    and has_schema_privilege(n.oid, 'usage')
    and has_table_privilege(c.oid, 'select')
  );
$$;
comment on function rowmill.may_read is
  'Whether a table of an extension, named schema.name, is there and open to whoever asks. Raises nothing.';
revoke all on function rowmill.may_read from public;
