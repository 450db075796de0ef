-- API: internal
create or replace function rowmill.read_filter(
  source regclass,
  filter text, -- null: there is none
  out columns jsonb, -- as pipelines.filter_columns has them
  out uses jsonb -- as pipelines.filter_uses has them
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_probe refcursor;
  v_view regclass;
  v_temporary text;
begin
  columns := '[]';
  uses := '[]';
  if read_filter.filter is null then
    return;
  end if;
  begin
    -- A cursor takes one query alone; "execute" would run whatever follows a parenthesis that the filter closes.
    open v_probe for execute format(E'select from %s where (%s\n)', read_filter.source, read_filter.filter);
    close v_probe;
    -- A view knows what its query reads; this one lives for three statements.
    execute format(
      E'create temporary view rowmill_filter_probe as select 1 as one from %s where (%s\n)', read_filter.source, read_filter.filter
    );
  exception when others then
    raise exception using
      errcode = 'RM102',
      message = format('the filter is not a condition over %s', read_filter.source),
      detail = format('%s: %s', read_filter.filter, sqlerrm),
      hint = 'Write it as after WHERE, e.g. ''description is not null''; name functions of your own with their schema.';
  end;
  v_view := to_regclass('pg_temp.rowmill_filter_probe');
  v_temporary := rowmill.temporary_parts_of(v_view);
  if v_temporary is not null then
    raise exception using
      errcode = 'RM102',
      message = format('the filter reads what is temporary: %s', v_temporary),
      detail = 'It is gone when the session ends, and workers are other sessions.',
      hint = 'Use types, functions and tables that stay.';
  end if;
  uses := rowmill.parts_of_view(v_view);
  select coalesce(jsonb_agg(jsonb_build_object('name', a.attname, 'attnum', a.attnum) order by a.attnum), '[]')
  into strict columns
  from pg_attribute as a
  where a.attrelid = read_filter.source
  and a.attnum in (
    select d.refobjsubid
    from pg_depend as d
    join pg_rewrite as w on w.oid = d.objid
    where d.classid = 'pg_rewrite'::regclass
    and w.ev_class = v_view
    and d.refobjid = read_filter.source
    and d.refobjsubid > 0
  );
  drop view pg_temp.rowmill_filter_probe;
end;
$$;
comment on function rowmill.read_filter is
  'The columns that a filter reads, and what else it names. Raises RM102 where it is no condition, or depends on what is temporary.';
revoke all on function rowmill.read_filter from public;
