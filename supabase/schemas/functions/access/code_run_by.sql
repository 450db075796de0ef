-- API: internal
create or replace function rowmill.code_run_by(classes oid[], objects oid[])
returns table (class oid, object oid)
language plpgsql -- its plan is kept
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_owner oid;
  v_sees_all boolean; -- no policy holds for the owner
  v_tables oid[] := array(select p.object from unnest(classes, objects) as p(class, object) where p.class = 'pg_class'::regclass);
  v_types oid[] := array(select p.object from unnest(classes, objects) as p(class, object) where p.class = 'pg_type'::regclass);
begin
  select r.oid, r.rolsuper or r.rolbypassrls into strict v_owner, v_sees_all
  from pg_namespace as n join pg_roles as r on r.oid = n.nspowner
  where n.nspname = 'rowmill';

  -- What it was made with: a column its type, a trigger its function, an expression its functions and operators. What came
  -- with Postgres has no entry here. What a function does is for its owner to answer for.
  return query
  select d.refclassid, d.refobjid
  from unnest(code_run_by.classes, code_run_by.objects) as p(class, object)
  join pg_depend as d on d.classid = p.class and d.objid = p.object
  where p.class <> 'pg_proc'::regclass
  and d.refclassid in ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass);

  -- What runs where a table is read or written. (Foreign keys are checked with the rights of the tables' owners.)
  return query
  select 'pg_trigger'::regclass::oid, t.oid from pg_trigger as t where t.tgrelid = any (v_tables) and not t.tgisinternal
  union all
  select 'pg_constraint'::regclass, c.oid from pg_constraint as c where c.conrelid = any (v_tables) and c.contype in ('c', 'x')
  union all
  select 'pg_attrdef'::regclass, a.oid from pg_attrdef as a where a.adrelid = any (v_tables)
  union all
  select 'pg_class'::regclass, i.indexrelid from pg_index as i where i.indrelid = any (v_tables)
  union all
  select 'pg_rewrite'::regclass, w.oid from pg_rewrite as w where w.ev_class = any (v_tables)
  union all
  select 'pg_policy'::regclass, y.oid
  from pg_policy as y
  join pg_class as c on c.oid = y.polrelid
  where y.polrelid = any (v_tables) and c.relrowsecurity and not v_sees_all
  and (c.relforcerowsecurity or not pg_has_role(v_owner, c.relowner, 'usage'));

  -- What runs where a value becomes one of a domain, or a text. The owner of the type at the other end may have made a cast,
  -- too, and nothing here casts to that type.
  if cardinality(v_types) > 0 then
    return query
    select 'pg_constraint'::regclass::oid, c.oid from pg_constraint as c where c.contypid = any (v_types)
    union all
    select 'pg_proc'::regclass, c.castfunc
    from pg_cast as c
    where c.castfunc <> 0 and (c.castsource = any (v_types) or c.casttarget = any (v_types))
    and rowmill.is_trusted((select t.typowner from pg_type as t where t.oid = c.castsource))
    and rowmill.is_trusted((select t.typowner from pg_type as t where t.oid = c.casttarget));
  end if;
end;
$$;
comment on function rowmill.code_run_by is
  'What these objects were made with, and what runs where rows of these tables are read or written or values of these types are made: '
  'one step of code_run_with.';
revoke all on function rowmill.code_run_by from public;
