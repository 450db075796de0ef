-- API: internal
create or replace function rowmill.objects_named(
  uses jsonb -- [{"catalog": "pg_proc" | "pg_operator" | "pg_type" | "pg_class", "schema", "name"}]
)
returns table (classid oid, objid oid)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- Every one of a name: an overload that came later may be the one that is called.
  select u.catalog::regclass, o.oid
  from jsonb_to_recordset(objects_named.uses) as u(catalog text, schema text, name text)
  join pg_namespace as n on n.nspname = u.schema
  cross join lateral (
    select f.oid from pg_proc as f where u.catalog = 'pg_proc' and f.pronamespace = n.oid and f.proname = u.name
    union all
    select r.oid from pg_operator as r where u.catalog = 'pg_operator' and r.oprnamespace = n.oid and r.oprname = u.name
    union all
    select t.oid from pg_type as t where u.catalog = 'pg_type' and t.typnamespace = n.oid and t.typname = u.name
    union all
    select c.oid from pg_class as c where u.catalog = 'pg_class' and c.relnamespace = n.oid and c.relname = u.name
  ) as o;
$$;
comment on function rowmill.objects_named is
  'The functions, operators, types and relations of these names, as (classid, objid) of pg_depend.';
revoke all on function rowmill.objects_named from public;
