-- API: internal
create or replace function rowmill.may_read(relation text)
returns boolean
language plpgsql -- keeps its plan: every post asks
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- As may_use: to_regclass would raise. A view's functions run with the reader's rights.
  return (
    select exists (
      select
      from pg_class as c
      join pg_namespace as n on n.oid = c.relnamespace
      where n.nspname = split_part(may_read.relation, '.', 1)
      and c.relname = split_part(may_read.relation, '.', 2)
      and has_schema_privilege(n.oid, 'usage')
      and has_table_privilege(c.oid, 'select')
      and rowmill.is_trusted_object('pg_namespace', n.oid, n.nspowner)
      and rowmill.is_trusted_object('pg_class', c.oid, c.relowner)
    )
  );
end;
$$;
comment on function rowmill.may_read is
  'Whether a relation of an extension, named schema.name, is there, open to the caller, and trusted, as is its schema '
  '(see is_trusted_object). Raises nothing.';
revoke all on function rowmill.may_read from public;
