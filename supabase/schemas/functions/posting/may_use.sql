-- API: internal
create or replace function rowmill.may_use(routine text, argument_types text[])
returns boolean
language plpgsql -- keeps its plan: every post asks
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Not to_regprocedure: it raises where the schema is there and closed to us. All functions of the name must be trusted:
  -- a call may take another one than this, of fewer parameters for instance.
  return (
    select coalesce(
      bool_or(
        array(
          select format_type(a.type, null) from unnest(p.proargtypes) with ordinality as a(type, place) order by a.place
        ) = may_use.argument_types
        and has_function_privilege(p.oid, 'execute')
      )
      and bool_and(rowmill.is_trusted_object('pg_proc', p.oid, p.proowner)),
      false
    )
    from pg_namespace as n
    join pg_proc as p on p.pronamespace = n.oid
    where n.nspname = split_part(may_use.routine, '.', 1)
    and p.proname = split_part(may_use.routine, '.', 2)
    and has_schema_privilege(n.oid, 'usage')
    and rowmill.is_trusted_object('pg_namespace', n.oid, n.nspowner)
  );
end;
$$;
comment on function rowmill.may_use is
  'Whether a function of an extension, named schema.name with the names of its types, is there, open to the caller, and trusted, '
  'as are its schema and all functions of its name (see is_trusted_object). Raises nothing.';
revoke all on function rowmill.may_use from public;
