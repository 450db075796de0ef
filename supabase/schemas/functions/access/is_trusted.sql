-- API: internal
create or replace function rowmill.is_trusted(role oid)
returns boolean
language plpgsql -- its plan is kept
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner oid := (select n.nspowner from pg_namespace as n where n.nspname = 'rowmill');
  v_role oid := role;
begin
  -- That role, which owns schema public, is nobody but the owner of the database.
  if v_role = 'pg_database_owner'::regrole then
    v_role := (select d.datdba from pg_database as d where d.datname = current_database());
  end if;
  -- Superusers have every role. A membership that can neither be used nor switched to makes nobody the owner; before 16 there
  -- was none of that kind.
  return exists (
    select
    from pg_roles as r
    where r.oid = v_role and (
      pg_has_role(r.oid, v_owner, 'usage')
      or pg_has_role(r.oid, v_owner, case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end)
      or exists (select from rowmill.settings as s where r.rolname = any (s.trusted_roles))
    )
  );
end;
$$;
comment on function rowmill.is_trusted is
  'Whether code of this role may run with the rights of Rowmill''s owner: the role is the owner, a superuser, may become the owner, '
  'or stands in settings.trusted_roles. false for a role that is not there, and for 0, the public.';
revoke all on function rowmill.is_trusted from public;
