-- What a declaration is checked for: each mistake is refused with what was wrong and what to do.
-- Workers need not stop.

-- API: internal
create function rowmill.find_column(source regclass, wanted text, used_as text)
returns pg_catalog.pg_attribute
language plpgsql
stable
set search_path = ''
as $$
declare
  v_column pg_catalog.pg_attribute;
  v_matches integer;
begin
  select a.* into v_column
  from pg_attribute as a
  where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped and a.attname = find_column.wanted;
  if found then
    return v_column;
  end if;

  select count(*) into strict v_matches
  from pg_attribute as a
  where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped
  and lower(a.attname) = lower(find_column.wanted);
  if v_matches = 1 then
    select a.* into strict v_column
    from pg_attribute as a
    where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped
    and lower(a.attname) = lower(find_column.wanted);
    return v_column;
  end if;

  raise exception using
    errcode = 'RM101',
    message = format('%s "%s" is not a column of %s', find_column.used_as, find_column.wanted, find_column.source),
    detail = case
      when v_matches > 1 then 'Several columns match it without regard to case; write it exactly.'
      else format('Its columns are: %s.', (
        select string_agg(a.attname, ', ' order by a.attnum)
        from pg_attribute as a
        where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped
      ))
    end,
    hint = case
      when find_column.used_as = 'output' and v_matches = 0
        then format('Add it first: alter table %s add column %I text;', find_column.source, find_column.wanted)
      else 'Write the name as the table has it.'
    end;
end;
$$;
comment on function rowmill.find_column(regclass, text, text) is
  'A column by its name, exactly or, where exactly one matches, without regard to case. Raises RM101.';
revoke all on function rowmill.find_column(regclass, text, text) from public;

-- API: internal
create function rowmill.filter_columns_of(source regclass, filter text)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_columns jsonb;
  v_probe refcursor;
begin
  if filter_columns_of.filter is null then
    return '[]';
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
    and w.ev_class = 'pg_temp.rowmill_filter_probe'::regclass
    and d.refobjid = filter_columns_of.source
    and d.refobjsubid > 0
  );
  drop view pg_temp.rowmill_filter_probe;
  return v_columns;
end;
$$;
comment on function rowmill.filter_columns_of(regclass, text) is 'The columns that a filter reads. Raises RM102 where it is no condition.';
revoke all on function rowmill.filter_columns_of(regclass, text) from public;

-- API: internal
create function rowmill.check_source(source regclass)
returns smallint[]
language plpgsql
stable
set search_path = ''
as $$
declare
  v_relation record;
  v_owner name;
  v_key smallint[];
  v_unfit text;
begin
  select c.relkind, n.nspname into v_relation
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = check_source.source;
  if check_source.source is null or not found then
    raise exception using errcode = 'RM103', message = 'the source is not a table',
      detail = format('source is %s.', coalesce(check_source.source::text, 'null')),
      hint = 'Name a table, e.g. source => ''public.films''.';
  end if;
  if v_relation.relkind not in ('r', 'p') then
    raise exception using errcode = 'RM103',
      message = format('%s is not a table', check_source.source),
      detail = format('It is a %s; triggers with keys need a table.', case v_relation.relkind
        when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table' else 'relation of another kind' end),
      hint = 'Name the table that the rows are inserted into.';
  end if;
  if v_relation.nspname in ('rowmill', 'pg_catalog', 'information_schema') then
    raise exception using errcode = 'RM103',
      message = format('%s belongs to the system', check_source.source),
      detail = 'A pipeline over it would feed on its own work.', hint = 'Name a table of your own.';
  end if;

  select i.indkey::smallint[] into v_key
  from pg_index as i
  where i.indrelid = check_source.source and i.indisprimary;
  if v_key is null then
    raise exception using errcode = 'RM104',
      message = format('%s has no primary key', check_source.source),
      detail = 'An answer finds its row by the primary key.',
      hint = format('Add one: alter table %s add column id bigint generated always as identity primary key;', check_source.source);
  end if;
  -- int2vector counts from 0
  v_key := array(select k.attnum from unnest(v_key) with ordinality as k(attnum, place) order by k.place);

  select string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ') into v_unfit
  from pg_attribute as a
  join pg_type as t on t.oid = rowmill.base_type(a.atttypid)
  where a.attrelid = check_source.source and a.attnum = any (v_key)
  and (t.typcategory in ('A', 'C') or t.oid in ('json'::regtype, 'jsonb'::regtype));
  if v_unfit is not null then
    raise exception using errcode = 'RM104',
      message = format('the primary key of %s has a type that cannot travel as a key', check_source.source),
      detail = format('Arrays, composites and documents cannot: %s.', v_unfit),
      hint = 'Use a key of numbers, text, uuid, dates or the like.';
  end if;

  select r.rolname into strict v_owner
  from pg_namespace as n join pg_roles as r on r.oid = n.nspowner
  where n.nspname = 'rowmill';
  if not (has_table_privilege(v_owner, check_source.source, 'select') and has_table_privilege(v_owner, check_source.source, 'update')) then
    raise exception using errcode = 'RM105',
      message = format('role %s, which owns Rowmill, may not read and update %s', v_owner, check_source.source),
      detail = 'Rows are read and answers are written under that role.',
      hint = format('grant select, update on %s to %I;', check_source.source, v_owner);
  end if;
  return v_key;
end;
$$;
comment on function rowmill.check_source(regclass) is 'The key columns of a table fit for a pipeline. Raises RM103 (no table), RM104 (no usable key), RM105 (no rights).';
revoke all on function rowmill.check_source(regclass) from public;

-- API: internal
create function rowmill.check_outputs(source regclass, outputs text[], keys smallint[], format text, output_schema json)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  v_name text;
  v_column pg_catalog.pg_attribute;
  v_missing text[];
  v_outputs jsonb := '[]';
  v_base oid;
begin
  if coalesce(cardinality(check_outputs.outputs), 0) = 0 then
    raise exception using errcode = 'RM106', message = 'a pipeline needs at least one output column',
      detail = 'outputs is empty.', hint = 'outputs => array[''summary'']';
  end if;

  -- All that are missing at once, so that one statement adds them.
  select array_agg(o.name order by o.place) into v_missing
  from unnest(check_outputs.outputs) with ordinality as o(name, place)
  where not exists (
    select from pg_attribute as a
    where a.attrelid = check_outputs.source and a.attnum > 0 and not a.attisdropped and lower(a.attname) = lower(o.name)
  );
  if v_missing is not null then
    raise exception using errcode = 'RM101',
      message = format('output %s is not a column of %s',
        (select string_agg(format('"%s"', m.name), ', ') from unnest(v_missing) as m(name)), check_outputs.source),
      detail = 'Rowmill fills columns; it does not add them.',
      hint = format('alter table %s %s;', check_outputs.source,
        (select string_agg(format('add column %I text', m.name), ', ') from unnest(v_missing) as m(name)));
  end if;

  foreach v_name in array check_outputs.outputs loop
    v_column := rowmill.find_column(check_outputs.source, v_name, 'output');
    v_base := rowmill.base_type(v_column.atttypid);
    if v_column.attnum = any (check_outputs.keys) then
      raise exception using errcode = 'RM106', message = format('output "%s" is part of the primary key', v_name),
        detail = 'An answer that changed the key would lose its row.', hint = 'Fill another column.';
    end if;
    if v_column.attgenerated <> '' or v_column.attidentity = 'a' then
      raise exception using errcode = 'RM106', message = format('output "%s" is generated by Postgres', v_name),
        detail = 'Nothing can be written to it.', hint = 'Fill a plain column.';
    end if;
    if v_outputs @> jsonb_build_array(jsonb_build_object('attnum', v_column.attnum)) then
      raise exception using errcode = 'RM106', message = format('output "%s" is named twice', v_name),
        detail = format('outputs is %s.', check_outputs.outputs), hint = 'Name each column once.';
    end if;
    if check_outputs.format = 'json' and check_outputs.output_schema is null
      and rowmill.value_schema(v_column.atttypid, true, null) is null then
      raise exception using errcode = 'RM107',
        message = format('output "%s" has type %s, which has no JSON form', v_name, format_type(v_column.atttypid, v_column.atttypmod)),
        detail = 'Text, booleans, numbers, enums, dates and times, uuid, json, arrays and domains of them have one.',
        hint = 'Change the column''s type, or say the form of its value with output_schema.';
    end if;
    v_outputs := v_outputs || jsonb_build_object(
      'name', v_column.attname,
      'attnum', v_column.attnum,
      'encoding', case
        when check_outputs.format = 'json' and check_outputs.output_schema is null and v_base in ('json'::regtype, 'jsonb'::regtype)
          then 'json_text'
        else 'value'
      end
    );
  end loop;

  if check_outputs.format = 'text' then
    if jsonb_array_length(v_outputs) <> 1 then
      raise exception using errcode = 'RM106', message = 'format ''text'' fills exactly one column',
        detail = format('outputs has %s.', jsonb_array_length(v_outputs)), hint = 'Name one output, or use format ''json''.';
    end if;
    if (select t.typcategory from pg_type as t where t.oid = v_base) <> 'S' then
      raise exception using errcode = 'RM107', message = format('format ''text'' cannot fill "%s"', v_outputs -> 0 ->> 'name'),
        detail = format('Its type is %s.', format_type(v_column.atttypid, v_column.atttypmod)), hint = 'Use a text column, or format ''json''.';
    end if;
  end if;
  return v_outputs;
end;
$$;
comment on function rowmill.check_outputs(regclass, text[], smallint[], text, json) is 'The output columns by number. Raises RM101, RM106 (not to be filled) or RM107 (no JSON form).';
revoke all on function rowmill.check_outputs(regclass, text[], smallint[], text, json) from public;

-- API: internal
create function rowmill.check_cycle(
  source regclass,
  inputs jsonb, -- columns whose edit asks for the row again: the prompt's, and the filter's that are no outputs
  outputs jsonb
)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  v_path text;
  v_twin text;
begin
  -- Follow what is filled from here, pipeline by pipeline; coming back to an input of ours is a loop that never ends paying.
  with recursive filled(attnum, path) as (
    select o.value -> 'attnum', array[]::text[]
    from jsonb_array_elements(check_cycle.outputs) as o
    union
    select o.value -> 'attnum', f.path || p.name
    from filled as f
    join rowmill.pipelines as p on p.source = check_cycle.source and p.state <> 'dropped' and p.name <> all (f.path)
    cross join lateral jsonb_array_elements(p.outputs) as o
    where p.inputs || p.filter_columns @> jsonb_build_array(jsonb_build_object('attnum', f.attnum))
    -- a pipeline's own outputs never ask it again
    and not p.outputs @> jsonb_build_array(jsonb_build_object('attnum', f.attnum))
  )
  select array_to_string(f.path, ' -> ') into v_path
  from filled as f
  where check_cycle.inputs @> jsonb_build_array(jsonb_build_object('attnum', f.attnum))
  limit 1;
  if v_path is not null then
    raise exception using errcode = 'RM108', message = 'this pipeline and others would feed each other for ever',
      detail = format('Its output comes back as its input through: %s.', v_path),
      hint = 'Take one of the columns out of a prompt, a filter or the outputs.';
  end if;
end;
$$;
comment on function rowmill.check_cycle(regclass, jsonb, jsonb) is 'Raises RM108 where chained pipelines would form a loop.';
revoke all on function rowmill.check_cycle(regclass, jsonb, jsonb) from public;
