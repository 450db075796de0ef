-- API: internal
create or replace function rowmill.lets_strangers_in(schema oid)
returns boolean
language plpgsql -- its plan is kept
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select coalesce(bool_or(not rowmill.is_trusted(n.nspowner) or exists (
    select
    from aclexplode(n.nspacl) as a
    where a.privilege_type = 'CREATE' and not rowmill.is_trusted(a.grantee) -- 0, the public, is no role
  )), false)
  from pg_namespace as n
  where n.oid = lets_strangers_in.schema);
end;
$$;
comment on function rowmill.lets_strangers_in is 'Whether a role that is not trusted owns a schema or may create things in it.';
revoke all on function rowmill.lets_strangers_in from public;
