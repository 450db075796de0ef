-- API: internal
create or replace function rowmill.may_use(routine text, argument_types text[])
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- Not to_regprocedure: it raises where the schema is there and closed to us.
  select exists (
    select
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname = split_part(may_use.routine, '.', 1)
    and p.proname = split_part(may_use.routine, '.', 2)
    and array(select format_type(a.type, null) from unnest(p.proargtypes) with ordinality as a(type, place) order by a.place) = may_use.argument_types
    and has_schema_privilege(n.oid, 'usage')
    and has_function_privilege(p.oid, 'execute')
  );
$$;
comment on function rowmill.may_use is
   'Whether a function of an extension, named schema.name with the names of its types, is there and open to whoever asks. Raises nothing.';
revoke all on function rowmill.may_use from public;
