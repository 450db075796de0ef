-- API: internal
create or replace function rowmill.untrusted_code(
  relations oid[], -- tables that are read or written
  uses jsonb -- what a filter names, as pipelines.filter_uses has it
)
returns text
language plpgsql -- its plan is kept: it stands before every read and write of rows
stable
set search_path = pg_catalog, pg_temp
-- For what it calls, too: each step is a look into an index; how large catalogs are, their statistics often do not say.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_owner oid := (select n.nspowner from pg_namespace as n where n.nspname = 'rowmill');
  v_untrusted text;
begin
  select format('%s belongs to %I', pg_describe_object(o.class, o.object, 0), r.rolname) into v_untrusted
  from (
    select
      p.class, p.object,
      case p.class
        when 'pg_class'::regclass then (select c.relowner from pg_class as c where c.oid = p.object and c.relkind not in ('i', 'I', 'S'))
        when 'pg_proc'::regclass then (select f.proowner from pg_proc as f where f.oid = p.object)
        when 'pg_type'::regclass then (select t.typowner from pg_type as t where t.oid = p.object)
        when 'pg_operator'::regclass then (select r.oprowner from pg_operator as r where r.oid = p.object)
      end as role
    from rowmill.code_run_with(untrusted_code.relations, untrusted_code.uses) as f
    cross join lateral unnest(f.classes, f.objects) as p(class, object)
  ) as o
  join pg_roles as r on r.oid = o.role
  where o.role <> v_owner and not rowmill.is_trusted(o.role)
  limit 1;
  return v_untrusted;
end;
$$;
comment on function rowmill.untrusted_code is
  'Code of a role that is not trusted which would run with the rights of Rowmill''s owner where rows of these tables are read or '
  'written, in words ("function a.f() belongs to b"); null where there is none.';
revoke all on function rowmill.untrusted_code from public;
