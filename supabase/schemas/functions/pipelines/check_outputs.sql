-- API: internal
create or replace function rowmill.check_outputs(
  source regclass, -- the table that is filled
  outputs text[],
  keys smallint[], -- the columns of the key, in the same table
  format text,
  output_schema json -- null: the schema is derived from the outputs
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_derived boolean := check_outputs.format = 'json' and check_outputs.output_schema is null;
  v_name text;
  v_column pg_catalog.pg_attribute;
  v_outputs jsonb := '[]'::jsonb;
  v_base oid;
begin
  perform rowmill.check_named_outputs(check_outputs.source, check_outputs.outputs);
  foreach v_name in array check_outputs.outputs loop
    v_column := rowmill.find_column(check_outputs.source, v_name, 'output');
    perform rowmill.check_output_column(check_outputs.source, v_column.attnum, v_name, check_outputs.keys, v_is_derived);
    if v_outputs @> jsonb_build_array(jsonb_build_object('attnum', v_column.attnum)) then
      raise exception using errcode = 'RM106', message = format('output "%s" is named twice', v_name),
        detail = format('outputs is %s.', check_outputs.outputs), hint = 'Name each column once.';
    end if;
    v_base := rowmill.base_type(v_column.atttypid);
    v_outputs := v_outputs || jsonb_build_object(
      'name', v_column.attname,
      'attnum', v_column.attnum,
      'encoding', case when v_is_derived and v_base in ('json'::regtype, 'jsonb'::regtype) then 'json_text' else 'value' end
    );
  end loop;

  if check_outputs.format = 'text' then
    if jsonb_array_length(v_outputs) <> 1 then
      raise exception using errcode = 'RM106', message = 'format ''text'' fills exactly one column',
        detail = format('outputs has %s.', jsonb_array_length(v_outputs)), hint = 'Name one output, or use format ''json''.';
    end if;
    if (select t.typcategory from pg_type as t where t.oid = v_base) <> 'S' then
      raise exception using errcode = 'RM107', message = format('format ''text'' cannot fill "%s"', v_outputs -> 0 ->> 'name'),
        detail = format('Its type is %s.', format_type(v_column.atttypid, v_column.atttypmod)),
        hint = 'Use a text column, or format ''json''.';
    end if;
  end if;
  return v_outputs;
end;
$$;
comment on function rowmill.check_outputs is
  'The output columns by number, as pipelines.outputs has them. Raises RM101, RM106 (not to be filled) or RM107 (no JSON form).';
revoke all on function rowmill.check_outputs from public;
