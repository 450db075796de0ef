-- API: internal
create or replace function rowmill.source_parts_of(
  pipeline_id bigint,
  version integer default null -- null: the current one
)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_problem text := rowmill.structure_problem(pipeline_id, version);
  v_parts rowmill.source_parts;
  v_chained text;
  v_match text;
  v_empty text;
  -- where the outputs are: in the row itself, or in its row of the target
  v_place text;
begin
  if v_problem is not null then
    raise exception using errcode = 'RM201', message = v_problem;
  end if;
  v_pipeline := rowmill.definition_of(source_parts_of.pipeline_id, source_parts_of.version);
  v_parts.relation := v_pipeline.source::text;
  v_place := case when v_pipeline.target = v_pipeline.source then 's' else 'f' end;

  -- A key travels as JSON and comes back through the text of its type.
  select
    string_agg(
      format('s.%I operator(pg_catalog.=) (k.key ->> %s)::%s', a.attname, k.place - 1, format_type(a.atttypid, a.atttypmod)),
      ' and ' order by k.place
    ),
    format('pg_catalog.jsonb_build_array(%s)', string_agg(format('s.%I', a.attname), ', ' order by k.place)),
    string_agg(format('s.%I', a.attname), ', ' order by k.place)
  into strict v_parts.key_match, v_parts.key_value, v_parts.key_list
  from unnest(v_pipeline.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = v_pipeline.source and a.attnum = k.attnum;

  -- Inputs are text, so that no client rounds a number; arrays and composites as JSON, which models read well.
  -- json_build_object takes 50 pairs at most; jsonb_object takes any number. The hash is over the binary form of
  -- the values, which tells null from empty, needs no quoting, and takes half the time of hashing their JSON.
  -- Under another version the same row is another request, so that what is in flight, answered or failed under one
  -- says nothing of the next; those of the first version keep the hashes that they have.
  select
    format(
      'pg_catalog.jsonb_object(array[%s]::text[], array[%s]::text[])',
      string_agg(quote_literal(i.name), ', ' order by i.place),
      string_agg(i.value, ', ' order by i.place)
    ),
    format(
      'pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.array_send(array[%s%s]::bytea[])), ''hex''), 16)',
      case when v_pipeline.version > 1 then format('pg_catalog.convert_to(''v%s'', ''UTF8''), ', v_pipeline.version) end,
      string_agg(format('pg_catalog.convert_to(%s, ''UTF8'')', i.value), ', ' order by i.place)
    )
  into strict v_parts.input, v_parts.hash
  from (
    select
      i.value ->> 'name' as name,
      i.place,
      case
        when t.typcategory in ('A', 'C') then format('pg_catalog.to_jsonb(s.%I)::text', a.attname)
        else format('s.%I::text', a.attname)
      end as value
    from jsonb_array_elements(v_pipeline.inputs) with ordinality as i(value, place)
    join pg_attribute as a on a.attrelid = v_pipeline.source and a.attnum = (i.value ->> 'attnum')::integer
    join pg_type as t on t.oid = a.atttypid
  ) as i;

  -- The filter sees the columns under the names that they had when it was written.
  v_parts.selected := 'true';
  if v_pipeline.filter is not null then
    select format(
      E'(select (%s\n) from (select %s) as %I)',
      v_pipeline.filter,
      coalesce(
        string_agg(
          format('s.%I as %I', rowmill.column_name(v_pipeline.source, (f.value ->> 'attnum')::integer), f.value ->> 'name'),
          ', '
        ),
        '1'
      ),
      v_pipeline.source_name
    )
    into strict v_parts.selected
    from jsonb_array_elements(v_pipeline.filter_columns) as f;
  end if;

  -- An input that another pipeline fills is waited for: its arrival is an edit, which queues the row.
  select string_agg(distinct format('s.%I is not null', rowmill.column_name(v_pipeline.source, (i.value ->> 'attnum')::integer)), ' and ')
  into v_chained
  from jsonb_array_elements(v_pipeline.inputs) as i
  where exists (
    select
    from rowmill.pipelines as p
    cross join lateral jsonb_array_elements(p.outputs || p.provenance) as o
    where p.target = v_pipeline.source
    and p.id <> v_pipeline.id
    and p.state <> 'dropped'
    and o.value -> 'attnum' = i.value -> 'attnum'
  );
  if v_chained is not null then
    v_parts.selected := v_parts.selected || ' and ' || v_chained;
  end if;

  select
    string_agg(format('%s.%I is null', v_place, a.attname), ' and ' order by o.place),
    string_agg(format('%I = k.o%s', a.attname, o.place - 1), ', ' order by o.place),
    string_agg(format('o%s %s', o.place - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by o.place),
    string_agg(format('%I', a.attname), ', ' order by o.place),
    string_agg(format('w.o%s', o.place - 1), ', ' order by o.place),
    string_agg(format('%I = excluded.%1$I', a.attname), ', ' order by o.place)
  into strict v_empty, v_parts.set_list, v_parts.value_columns, v_parts.target_columns, v_parts.target_values, v_parts.excluded_list
  from jsonb_array_elements(v_pipeline.outputs) with ordinality as o(value, place)
  join pg_attribute as a on a.attrelid = v_pipeline.target and a.attnum = (o.value ->> 'attnum')::integer;

  if v_pipeline.provenance <> '[]' then
    select
      v_parts.set_list || string_agg(format(', %I = %s', q.name, q.value), '' order by q.place),
      v_parts.target_columns || string_agg(format(', %I', q.name), '' order by q.place),
      v_parts.target_values || string_agg(format(', %s', q.value), '' order by q.place),
      v_parts.excluded_list || string_agg(format(', %I = excluded.%1$I', q.name), '' order by q.place),
      min(format('%s.%I', v_place, q.name)) filter (where q.is_version)
    into strict v_parts.set_list, v_parts.target_columns, v_parts.target_values, v_parts.excluded_list, v_parts.version_at
    from (
      select
        a.attname as name,
        o.place,
        case o.value ->> 'value' when '$batch_id' then '$3' when '$model' then '$4' when '$completed_at' then '$5' when '$version' then '$6' end as value,
        o.value ->> 'value' = '$version' and t.typcategory = 'N' as is_version
      from jsonb_array_elements(v_pipeline.provenance) with ordinality as o(value, place)
      join pg_attribute as a on a.attrelid = v_pipeline.target and a.attnum = (o.value ->> 'attnum')::integer
      join pg_type as t on t.oid = rowmill.base_type(a.atttypid)
    ) as q;
  end if;

  v_parts.missing := v_empty;
  if v_pipeline.target <> v_pipeline.source then
    select
      string_agg(format('s.%I as k%s', a.attname, k.place - 1), ', ' order by k.place),
      string_agg(format('%I', t.attname), ', ' order by k.place),
      string_agg(format('w.k%s', k.place - 1), ', ' order by k.place) || ', ' || v_parts.target_values,
      string_agg(format('f.%I operator(pg_catalog.=) s.%I', t.attname, a.attname), ' and ' order by k.place)
    into strict v_parts.key_columns, v_parts.target_keys, v_parts.target_values, v_match
    from unnest(v_pipeline.key_columns, v_pipeline.target_key_columns) with ordinality as k(attnum, target_attnum, place)
    join pg_attribute as a on a.attrelid = v_pipeline.source and a.attnum = k.attnum
    join pg_attribute as t on t.attrelid = v_pipeline.target and t.attnum = k.target_attnum;
    v_parts.target := v_pipeline.target::text;
    v_parts.target_columns := v_parts.target_keys || ', ' || v_parts.target_columns;
    v_parts.missing := format('not exists (select from %s as f where %s and not (%s))', v_parts.target, v_match, v_empty);
    -- (null where there is none)
    v_parts.version_at := '(select ' || v_parts.version_at || format(' from %s as f where %s)', v_parts.target, v_match);
  end if;
  return v_parts;
end;
$$;
comment on function rowmill.source_parts_of is
   'The pieces of SQL that forming, reading and applying are made of, for a version. Raises RM201 where a table or a column is gone.';
revoke all on function rowmill.source_parts_of from public;
