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
begin
  perform rowmill.check_values(v_result);
  -- Before anything of the table runs.
  perform rowmill.check_trust(v_result);
  if v_result.inputs is null then
    v_result.inputs := rowmill.prompt_inputs(v_result.source, v_result.prompt, v_result.placeholder_style);
  end if;
  if v_result.outputs is null or check_definition.outputs is not null then
    v_result.outputs := rowmill.check_outputs(
      v_result.target, check_definition.outputs, v_result.target_key_columns, v_result.format, v_result.own_schema
    );
  end if;
  perform rowmill.check_outputs_fit(v_result);
  if v_result.provenance is null or check_definition.provenance is not null then
    v_result.provenance := rowmill.check_provenance(v_result, check_definition.provenance);
  end if;

  v_result.response_schema := case when v_result.format = 'json' then coalesce(v_result.own_schema, rowmill.answer_schema(
    v_result.target,
    array(
      select (o.value ->> 'attnum')::smallint
      from jsonb_array_elements(v_result.outputs) with ordinality as o(value, place)
      order by o.place
    )
  )) end;
  if v_result.filter_columns is null then
    select f.columns, f.uses into strict v_result.filter_columns, v_result.filter_uses
    from rowmill.read_filter(v_result.source, v_result.filter) as f;
    perform rowmill.check_trust(v_result);
  end if;

  perform rowmill.check_unfilled_columns(v_result);
  perform rowmill.check_cycle(v_result);
  return v_result;
end;
$$;
comment on function rowmill.check_definition is
  'A definition, checked and with its columns by number and its schema. Source, target and their keys are checked before. '
  'Raises RM101, RM102, RM106 to RM109, RM114, RM117.';
revoke all on function rowmill.check_definition from public;
