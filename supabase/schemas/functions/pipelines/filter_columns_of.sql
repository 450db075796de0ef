-- API: internal
create or replace function rowmill.filter_columns_of(source regclass, filter text)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns jsonb;
  v_probe refcursor;
begin
  if filter_columns_of.filter is null then
    return '[]'::jsonb;
  end if;
  begin
    -- A cursor takes one query alone; "execute" would run whatever follows a parenthesis that the filter closes.
    open v_probe for execute format(E'select from %s where (%s\n)', filter_columns_of.source, filter_columns_of.filter);
    close v_probe;
    -- A view knows what its query reads; this one lives for three statements.
    execute format(E'create temporary view rowmill_filter_probe as select 1 as one from %s where (%s\n)', filter_columns_of.source, filter_columns_of.filter);
  exception when others then
    raise exception using
      errcode = 'RM102',
      message = format('the filter is not a condition over %s', filter_columns_of.source),
      detail = format('%s: %s', filter_columns_of.filter, sqlerrm),
      hint = 'Write it as after WHERE, e.g. ''description is not null''; name functions of your own with their schema.';
  end;
  select coalesce(jsonb_agg(jsonb_build_object('name', a.attname, 'attnum', a.attnum) order by a.attnum), '[]')
  into strict v_columns
  from pg_attribute as a
  where a.attrelid = filter_columns_of.source
  and a.attnum in (
    select d.refobjsubid
    from pg_depend as d
    join pg_rewrite as w on w.oid = d.objid
    where d.classid = 'pg_rewrite'::regclass
    and w.ev_class = to_regclass('pg_temp.rowmill_filter_probe')
    and d.refobjid = filter_columns_of.source
    and d.refobjsubid > 0
  );
  drop view pg_temp.rowmill_filter_probe;
  return v_columns;
end;
$$;
comment on function rowmill.filter_columns_of is
  'The columns that a filter reads. Raises RM102 where it is no condition.';
revoke all on function rowmill.filter_columns_of from public;
