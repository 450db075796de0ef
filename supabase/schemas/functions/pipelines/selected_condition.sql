-- API: internal
create or replace function rowmill.selected_condition(definition rowmill.pipelines)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_selected text := 'true';
  v_chained text;
begin
  -- The filter sees the columns under the names that they had when it was written.
  if definition.filter is not null then
    select format(
      E'(select (%s\n) from (select %s) as %I)',
      definition.filter,
      coalesce(string_agg(format('s.%I as %I', a.attname, f.value ->> 'name'), ', ' order by f.place), '1'),
      definition.source_name
    )
    into strict v_selected
    from jsonb_array_elements(definition.filter_columns) with ordinality as f(value, place)
    join pg_attribute as a on a.attrelid = definition.source and a.attnum = (f.value ->> 'attnum')::integer;
  end if;

  -- An input that another pipeline fills is waited for: its arrival is an edit, which queues the row.
  select string_agg(
    distinct format('s.%I is not null', rowmill.column_name(definition.source, (i.value ->> 'attnum')::integer)), ' and '
  )
  into v_chained
  from jsonb_array_elements(definition.inputs) as i
  where exists (
    select
    from rowmill.pipelines as p
    where p.target = definition.source
    and p.id <> definition.id
    and p.state <> 'dropped'
    and p.outputs || p.provenance @> jsonb_build_array(jsonb_build_object('attnum', i.value -> 'attnum'))
  );
  return concat_ws(' and ', v_selected, v_chained);
end;
$$;
comment on function rowmill.selected_condition is
  'The condition over a row of the source, aliased as s, under which the pipeline wants it: its filter holds, and the inputs that '
  'other pipelines fill are there.';
revoke all on function rowmill.selected_condition from public;
