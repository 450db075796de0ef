-- From what was said to what is stored. Workers need not stop.

-- API: internal
create function rowmill.check_definition(
  definition rowmill.pipelines, -- inputs and filter_columns that are null are found
  outputs text[], -- null: those of the definition
  provenance jsonb -- {"column": "$value"}; null: that of the definition
)
returns rowmill.pipelines
language plpgsql
set search_path = ''
as $$
declare
  v_result rowmill.pipelines := definition;
  v_bad text;
begin
  perform rowmill.check_values(v_result);
  if v_result.inputs is null then
    v_result.inputs := rowmill.prompt_inputs(v_result.source, v_result.prompt, v_result.placeholder_style);
  end if;
  if v_result.outputs is null or check_definition.outputs is not null then
    v_result.outputs := rowmill.check_outputs(
      v_result.target, check_definition.outputs, v_result.target_key_columns, v_result.format, v_result.own_schema
    );
  end if;
  if v_result.target = v_result.source then
    select string_agg(o.value ->> 'name', ', ') into v_bad
    from jsonb_array_elements(v_result.outputs) as o
    join jsonb_array_elements(v_result.inputs) as i on i.value -> 'attnum' = o.value -> 'attnum';
    if v_bad is not null then
      raise exception using errcode = 'RM108', message = format('output "%s" is also an input', v_bad),
        detail = 'Each answer would be an edit that asks again.', hint = 'Fill another column.';
    end if;
  end if;
  if v_result.own_schema is not null then
    select string_agg(o.value ->> 'name', ', ') into v_bad
    from jsonb_array_elements(v_result.outputs) as o
    where v_result.own_schema -> 'properties' -> (o.value ->> 'name') is null;
    if v_bad is not null then
      raise exception using errcode = 'RM109', message = format('output_schema has no property for: %s', v_bad),
        detail = 'A column is filled from the property of its name.', hint = 'Add the property, or take the column out of outputs.';
    end if;
  end if;
  if v_result.provenance is null or check_definition.provenance is not null then
    v_result.provenance := rowmill.check_provenance(v_result, check_definition.provenance);
  end if;

  v_result.response_schema := case when v_result.format = 'json' then coalesce(v_result.own_schema, rowmill.answer_schema(
    v_result.target,
    array(select (o.value ->> 'attnum')::smallint from jsonb_array_elements(v_result.outputs) with ordinality as o(value, place) order by o.place)
  )) end;
  if v_result.filter_columns is null then
    v_result.filter_columns := rowmill.filter_columns_of(v_result.source, v_result.filter);
  end if;

  if v_result.target <> v_result.source then
    select string_agg(a.attname, ', ' order by a.attnum) into v_bad
    from pg_attribute as a
    join pg_type as t on t.oid = a.atttypid
    where a.attrelid = v_result.target and a.attnum > 0 and not a.attisdropped
    and (a.attnotnull or rowmill.forbids_null(a.atttypid))
    and not a.atthasdef and a.attidentity = '' and t.typdefault is null
    and a.attnum <> all (v_result.target_key_columns)
    and not v_result.outputs || v_result.provenance @> jsonb_build_array(jsonb_build_object('attnum', a.attnum));
    if v_bad is not null then
      raise exception using errcode = 'RM114',
        message = format('column %s of %s is not null and nobody fills it', v_bad, v_result.target),
        detail = 'An answer whose row is not there yet is inserted with its key, its outputs and its provenance alone.',
        hint = 'Give the column a default, allow null in it, or make it an output.';
    end if;
  end if;
  perform rowmill.check_cycle(v_result);
  return v_result;
end;
$$;
comment on function rowmill.check_definition(rowmill.pipelines, text[], jsonb) is
  'A definition, checked and with its columns by number and its schema. Source, target and their keys are checked before. Raises RM101, RM102, RM106 to RM109, RM114.';
revoke all on function rowmill.check_definition(rowmill.pipelines, text[], jsonb) from public;

-- API: internal
create function rowmill.try_definition(pipeline_id bigint)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_parts rowmill.source_parts := rowmill.source_parts_of(pipeline_id);
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = try_definition.pipeline_id;
  -- The pieces are put together and planned once here, so that what cannot run fails now and not at night.
  begin
    execute format('select %s, %s from (select null::jsonb as key) as k join %s as s on %s order by %s limit 0',
      v_parts.key_value, v_parts.hash, v_parts.relation, v_parts.key_match, v_parts.key_list);
  exception when others then
    raise exception using errcode = 'RM104', message = format('the rows of %s cannot be found by their primary key', v_pipeline.source),
      detail = sqlerrm, hint = 'Use a key of numbers, text, uuid, dates or the like.';
  end;
  begin
    execute format('select from %s as s where %s limit 0', v_parts.relation, v_parts.selected);
  exception when others then
    raise exception using errcode = 'RM102', message = format('the filter is not a condition over %s', v_pipeline.source),
      detail = format('%s: %s', v_pipeline.filter, sqlerrm),
      hint = 'Write it as after WHERE, e.g. ''description is not null''; name columns alone or with their table, without its schema.';
  end;
end;
$$;
comment on function rowmill.try_definition(bigint) is 'Plans what a pipeline will run. Raises RM104, RM102.';
revoke all on function rowmill.try_definition(bigint) from public;

-- API: internal
create function rowmill.watched_columns(definition rowmill.pipelines)
returns smallint[]
language sql
stable
set search_path = ''
as $$
  select array_agg(w.attnum order by w.attnum)
  from (
    select k.attnum from unnest(definition.key_columns) as k(attnum)
    union
    select (i.value ->> 'attnum')::smallint from jsonb_array_elements(definition.inputs || definition.filter_columns) as i
    except
    select (o.value ->> 'attnum')::smallint
    from jsonb_array_elements(definition.outputs || definition.provenance) as o
    where definition.target = definition.source
  ) as w;
$$;
comment on function rowmill.watched_columns(rowmill.pipelines) is 'The columns of a source whose edit asks for the row again.';
revoke all on function rowmill.watched_columns(rowmill.pipelines) from public;

drop function rowmill.attach_triggers(bigint);

-- API: internal
create function rowmill.attach_triggers(
  pipeline_id bigint,
  anew boolean default false -- true: other columns are watched than before
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_table regclass;
  v_watched text;
  v_changed text;
  v_keys text;
  v_moved text;
  v_made integer := 0;
begin
  select p.* into strict v_pipeline
  from rowmill.pipelines as p
  where p.id = attach_triggers.pipeline_id;

  select
    string_agg(format('%I', a.attname), ', ' order by a.attnum),
    -- Compared as text: that is what the prompt sees, and json has no "=".
    string_agg(format('old.%1$I::text is distinct from new.%1$I::text', a.attname), ' or ' order by a.attnum)
  into strict v_watched, v_changed
  from pg_attribute as a
  where a.attrelid = v_pipeline.source
  and a.attnum = any (rowmill.watched_columns(v_pipeline));

  -- Generated columns have no value yet before an update, and partition no table.
  select string_agg(format('%I', a.attname), ', '), string_agg(format('old.%1$I is distinct from new.%1$I', a.attname), ' or ')
  into strict v_keys, v_moved
  from pg_attribute as a
  where a.attrelid = v_pipeline.source and a.attnum = any (v_pipeline.key_columns) and a.attgenerated = '';

  -- Then every update is looked at.
  if rowmill.has_before_triggers(v_pipeline.source) then
    v_watched := null;
  end if;

  -- Rows inserted straight into a partition fire its own statement triggers, not its parent's.
  for v_table in
    select v_pipeline.source
    union
    select t.relid from pg_partition_tree(v_pipeline.source) as t
  loop
    if not exists (
      select from pg_trigger as t where t.tgrelid = v_table and t.tgname = format('rowmill_%s_insert', v_pipeline.id)
    ) then
      execute format(
        'create trigger rowmill_%1$s_insert after insert on %2$s referencing new table as new_rows for each statement execute function rowmill.enqueue_inserted_%1$s()',
        v_pipeline.id, v_table
      );
      v_made := v_made + 1;
    end if;
  end loop;

  -- Row triggers are handed down to partitions by Postgres.
  if attach_triggers.anew or not exists (
    select from pg_trigger as t
    where t.tgrelid = v_pipeline.source and t.tgname = format('rowmill_%s_update', v_pipeline.id)
    and (v_watched is not null or t.tgattr::text = '')
  ) then
    execute format(
      'create or replace trigger rowmill_%1$s_update after update %2$s on %3$s for each row when (%4$s) execute function rowmill.enqueue_edited_%1$s()',
      v_pipeline.id, 'of ' || v_watched, v_pipeline.source, v_changed
    );
    v_made := v_made + 1;
  end if;

  -- An update that moves a row into another partition fires no AFTER UPDATE trigger for it, and it changes the
  -- key, of which the partition's columns are a part.
  if exists (select from pg_class as c where c.oid = v_pipeline.source and c.relkind = 'p') and not exists (
    select from pg_trigger as t where t.tgrelid = v_pipeline.source and t.tgname = format('rowmill_%s_move', v_pipeline.id)
  ) then
    execute format(
      'create trigger rowmill_%1$s_move before update %2$s on %3$s for each row when (%4$s) execute function rowmill.enqueue_edited_%1$s()',
      v_pipeline.id, 'of ' || v_keys, v_pipeline.source, v_moved
    );
    v_made := v_made + 1;
  end if;
  return v_made;
end;
$$;
comment on function rowmill.attach_triggers(bigint, boolean) is
  'Puts a pipeline''s triggers on its table and on every partition that lacks them; returns how many it made. Harmless to repeat.';
revoke all on function rowmill.attach_triggers(bigint, boolean) from public;
