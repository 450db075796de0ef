-- API: internal
create or replace function rowmill.check_definition(
  definition rowmill.pipelines, -- inputs and filter_columns that are null are found
  outputs text[], -- null: those of the definition
  provenance jsonb -- {"column": "$value"}; null: that of the definition
)
returns rowmill.pipelines
language plpgsql
set search_path = pg_catalog, pg_temp
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
comment on function rowmill.check_definition is
   'A definition, checked and with its columns by number and its schema. Source, target and their keys are checked before. Raises RM101, RM102, RM106 to RM109, RM114.';
revoke all on function rowmill.check_definition from public;
