-- API: internal
create or replace function rowmill.parts_of_view(view regclass)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(distinct jsonb_build_object('catalog', d.refclassid::regclass, 'schema', n.nspname, 'name', o.name)), '[]')
  from pg_rewrite as w
  join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
  cross join lateral (
    select f.pronamespace, f.proname from pg_proc as f where d.refclassid = 'pg_proc'::regclass and f.oid = d.refobjid
    union all
    select r.oprnamespace, r.oprname from pg_operator as r where d.refclassid = 'pg_operator'::regclass and r.oid = d.refobjid
    union all
    select t.typnamespace, t.typname from pg_type as t where d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
    union all
    select c.relnamespace, c.relname from pg_class as c
    where d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid and c.oid <> parts_of_view.view
  ) as o(namespace, name)
  join pg_namespace as n on n.oid = o.namespace
  where w.ev_class = parts_of_view.view;
$$;
comment on function rowmill.parts_of_view is
  'The functions, operators, types and relations that a view''s query names, as pipelines.filter_uses has them; what Postgres brings '
  'along is not among them.';
revoke all on function rowmill.parts_of_view from public;
