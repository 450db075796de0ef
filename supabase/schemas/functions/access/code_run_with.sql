-- API: internal
create or replace function rowmill.code_run_with(
  relations oid[], -- tables that are read or written
  uses jsonb, -- what a filter names, as pipelines.filter_uses has it
  out classes oid[], -- catalogs, and of the same length
  out objects oid[] -- objects in them
)
language plpgsql -- its plans are kept: it stands before every read and write of rows
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_classes oid[]; -- what was found last
  v_objects oid[];
begin
  with recursive tables(oid) as (
    select r.oid from unnest(code_run_with.relations) as r(oid)
    union
    select i.inhrelid from tables as t join pg_inherits as i on i.inhparent = t.oid
  ), found as (
    select 'pg_class'::regclass::oid as class, t.oid as object from tables as t
    union
    select u.classid, u.objid from rowmill.objects_named(code_run_with.uses) as u where code_run_with.uses <> '[]'
  )
  select array_agg(f.class), array_agg(f.object) into v_classes, v_objects from found as f;

  classes := '{}';
  objects := '{}';
  while v_classes is not null loop
    classes := classes || v_classes;
    objects := objects || v_objects;
    select array_agg(n.class), array_agg(n.object) into v_classes, v_objects
    from (
      select n.class, n.object from rowmill.code_run_by(v_classes, v_objects) as n
      except
      select k.class, k.object from unnest(classes, objects) as k(class, object)
    ) as n;
  end loop;
end;
$$;
comment on function rowmill.code_run_with is
  'What runs, or decides what runs, where rows of these tables are read or written, as pg_depend names objects: the tables and '
  'their partitions, the types, operators, casts, domain checks, index expressions, generated columns, defaults, check constraints, '
  'rules, policies that hold for Rowmill''s owner and triggers on them, and the functions of all these. What Postgres brings along is '
  'not among them.';
revoke all on function rowmill.code_run_with from public;
