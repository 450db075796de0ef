-- API: internal
create or replace function rowmill.examine_grants()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text[];
  v_remedies text[];
begin
  -- What such a role inherits counts as well; 0 is PUBLIC.
  with outsiders as (
    select 0::oid as role, 'public' as name
    union all
    select r.oid, r.rolname from pg_roles as r where r.rolname in ('anon', 'authenticated')
  ), granted as (
    select g.thing, g.kind, a.grantee, a.privilege_type
    from (
      select p.oid::regprocedure::text as thing, 'function' as kind, coalesce(p.proacl, acldefault('f', p.proowner)) as acl
      from pg_proc as p where p.pronamespace = 'rowmill'::regnamespace
      union all
      select c.oid::regclass::text, case c.relkind when 'S' then 'sequence' else 'table' end, c.relacl
      from pg_class as c where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
      union all
      select c.oid::regclass::text, 'table', t.attacl
      from pg_attribute as t join pg_class as c on c.oid = t.attrelid
      where c.relnamespace = 'rowmill'::regnamespace and t.attacl is not null
      union all
      select n.nspname, 'schema', n.nspacl from pg_namespace as n where n.nspname = 'rowmill'
    ) as g
    cross join lateral aclexplode(g.acl) as a
  ), too_much as (
    select o.name as outsider, g.kind, g.thing, case when g.grantee = 0 then 'public' else quote_ident(r.rolname) end as grantee,
      string_agg(distinct lower(g.privilege_type), ', ') as privileges
    from granted as g
    join outsiders as o on g.grantee = o.role or (o.role <> 0 and g.grantee <> 0 and pg_has_role(o.role, g.grantee, 'usage'))
    left join pg_roles as r on r.oid = g.grantee
    group by 1, 2, 3, 4
  )
  select
    array_agg(format('%s: %s on %s', t.outsider, t.privileges, t.thing) order by t.kind, t.thing, t.outsider),
    array_agg(distinct format('revoke all on %s %s from %s;', t.kind, t.thing, t.grantee))
  into v_found, v_remedies
  from too_much as t;
  if v_found is null then
    return row('ok', 'nothing of schema rowmill is open to public, anon or authenticated', null)::rowmill.finding;
  end if;
  return row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
end;
$$;
comment on function rowmill.examine_grants is
  'Whether functions, tables, views, sequences and the schema are closed to public, anon and authenticated.';
revoke all on function rowmill.examine_grants from public;
