-- Text of SQL over a pipeline's source table, made from today's names of the columns that were numbered when
-- the pipeline was declared. Workers need not stop.

-- API: internal
create function rowmill.column_name(source regclass, attnum integer)
returns text
language sql
stable
set search_path = ''
as $$
  select a.attname::text
  from pg_attribute as a
  where a.attrelid = column_name.source
  and a.attnum = column_name.attnum
  and not a.attisdropped;
$$;
comment on function rowmill.column_name(regclass, integer) is 'Today''s name of a column by its number; null once it was dropped.';
revoke all on function rowmill.column_name(regclass, integer) from public;

-- API: internal
create function rowmill.structure_problem(pipeline_id bigint)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_lost text;
begin
  select p.* into strict v_pipeline
  from rowmill.pipelines as p
  where p.id = structure_problem.pipeline_id;

  if not exists (select from pg_class as c where c.oid = v_pipeline.source) then
    return format('the source table %s was dropped; drop_pipeline(%L) ends the pipeline', v_pipeline.source_name, v_pipeline.name);
  end if;

  select string_agg(format('%s %s', w.role, w.name), ', ' order by w.role, w.name) into v_lost
  from (
    select 'key column' as role, k.attnum::text as name, k.attnum::integer as attnum
    from unnest(v_pipeline.key_columns) as k(attnum)
    union all
    select 'input column', i.value ->> 'name', (i.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.inputs) as i
    union all
    select 'output column', o.value ->> 'name', (o.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.outputs) as o
    union all
    select 'filter column', f.value ->> 'name', (f.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.filter_columns) as f
  ) as w
  where rowmill.column_name(v_pipeline.source, w.attnum) is null;
  if v_lost is not null then
    return format('dropped from %s: %s; drop_pipeline(%L) and create it again without', v_pipeline.source, v_lost, v_pipeline.name);
  end if;
  return null;
end;
$$;
comment on function rowmill.structure_problem(bigint) is 'What of a pipeline''s table is gone, in words; null where everything is there.';
revoke all on function rowmill.structure_problem(bigint) from public;

create type rowmill.source_parts as (
  relation text,
  key_match text,
  key_value text,
  key_list text,
  input text,
  hash text,
  selected text,
  missing text,
  set_list text,
  value_columns text
);
comment on type rowmill.source_parts is 'Pieces of SQL over a source table aliased as s; made by rowmill.source_parts_of.';

-- API: internal
create function rowmill.source_parts_of(pipeline_id bigint)
returns rowmill.source_parts
language plpgsql
stable
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_problem text := rowmill.structure_problem(pipeline_id);
  v_parts rowmill.source_parts;
  v_chained text;
begin
  if v_problem is not null then
    raise exception using errcode = 'RM201', message = v_problem;
  end if;
  select p.* into strict v_pipeline
  from rowmill.pipelines as p
  where p.id = source_parts_of.pipeline_id;

  v_parts.relation := v_pipeline.source::text;

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
  select
    format(
      'pg_catalog.jsonb_object(array[%s]::text[], array[%s]::text[])',
      string_agg(quote_literal(i.name), ', ' order by i.place),
      string_agg(i.value, ', ' order by i.place)
    ),
    format(
      'pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.array_send(array[%s]::bytea[])), ''hex''), 16)',
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
    cross join lateral jsonb_array_elements(p.outputs) as o
    where p.source = v_pipeline.source
    and p.id <> v_pipeline.id
    and p.state <> 'dropped'
    and o.value -> 'attnum' = i.value -> 'attnum'
  );
  if v_chained is not null then
    v_parts.selected := v_parts.selected || ' and ' || v_chained;
  end if;

  select
    string_agg(format('s.%I is null', a.attname), ' and ' order by o.place),
    string_agg(format('%I = k.o%s', a.attname, o.place - 1), ', ' order by o.place),
    string_agg(format('o%s %s', o.place - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by o.place)
  into strict v_parts.missing, v_parts.set_list, v_parts.value_columns
  from jsonb_array_elements(v_pipeline.outputs) with ordinality as o(value, place)
  join pg_attribute as a on a.attrelid = v_pipeline.source and a.attnum = (o.value ->> 'attnum')::integer;

  return v_parts;
end;
$$;
comment on function rowmill.source_parts_of(bigint) is 'The pieces of SQL that forming, reading and applying are made of. Raises RM201 where the table or a column is gone.';
revoke all on function rowmill.source_parts_of(bigint) from public;
