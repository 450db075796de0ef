-- API: internal
create or replace function rowmill.check_outputs_fit(
  definition rowmill.pipelines -- with inputs and outputs
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bad text;
begin
  if definition.target = definition.source then
    select string_agg(o.value ->> 'name', ', ') into v_bad
    from jsonb_array_elements(definition.outputs) as o
    join jsonb_array_elements(definition.inputs) as i on i.value -> 'attnum' = o.value -> 'attnum';
    if v_bad is not null then
      raise exception using errcode = 'RM108', message = format('output "%s" is also an input', v_bad),
        detail = 'Each answer would be an edit that asks again.', hint = 'Fill another column.';
    end if;
  end if;
  if definition.own_schema is not null then
    select string_agg(o.value ->> 'name', ', ') into v_bad
    from jsonb_array_elements(definition.outputs) as o
    where definition.own_schema -> 'properties' -> (o.value ->> 'name') is null;
    if v_bad is not null then
      raise exception using errcode = 'RM109', message = format('output_schema has no property for: %s', v_bad),
        detail = 'A column is filled from the property of its name.', hint = 'Add the property, or take the column out of outputs.';
    end if;
  end if;
end;
$$;
comment on function rowmill.check_outputs_fit is
  'Whether the outputs go with the inputs and with an output_schema. Raises RM108 (an output is an input) or RM109 (the schema lacks one).';
revoke all on function rowmill.check_outputs_fit from public;
