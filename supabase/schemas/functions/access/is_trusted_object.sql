-- API: internal
create or replace function rowmill.is_trusted_object(
  catalog regclass, -- pg_proc, pg_class or pg_namespace
  object oid,
  owner oid
)
returns boolean
language plpgsql -- keeps its plan: every post asks
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Who may create a trusted extension may also add functions to it: the membership says as much as its owner does.
  return (
    select rowmill.is_trusted(is_trusted_object.owner) or exists (
      select
      from pg_depend as d
      join pg_extension as e on e.oid = d.refobjid
      where d.classid = is_trusted_object.catalog
      and d.objid = is_trusted_object.object
      and d.deptype = 'e'
      and d.refclassid = 'pg_extension'::regclass
      and rowmill.is_trusted(e.extowner)
    )
  );
end;
$$;
comment on function rowmill.is_trusted_object is
  'Whether a schema, function or relation is of a role that is trusted (see is_trusted), or of an extension whose owner is trusted.';
revoke all on function rowmill.is_trusted_object from public;
