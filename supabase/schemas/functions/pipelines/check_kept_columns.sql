-- API: internal
create or replace function rowmill.check_kept_columns(
  definition rowmill.pipelines, -- inputs, filter_columns, outputs and provenance: what is kept, null where it is given anew
  name text -- the pipeline's, for the message
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_lost text;
begin
  select string_agg(format('%s (%s)', k.value ->> 'name', k.parameter), ', ') into v_lost
  from (
    select definition.source as relation, 'prompt' as parameter, i.value from jsonb_array_elements(definition.inputs) as i(value)
    union all
    select definition.source, 'filter', i.value from jsonb_array_elements(definition.filter_columns) as i(value)
    union all
    select definition.target, 'outputs', i.value from jsonb_array_elements(definition.outputs) as i(value)
    union all
    select definition.target, 'provenance', i.value from jsonb_array_elements(definition.provenance) as i(value)
  ) as k
  where rowmill.column_name(k.relation, (k.value ->> 'attnum')::integer) is null;
  if v_lost is not null then
    raise exception using errcode = 'RM101',
      message = format('dropped, and still named by pipeline "%s": %s', check_kept_columns.name, v_lost),
      detail = 'A new version would name them, too.', hint = 'Give the parameters in parentheses anew, without these columns.';
  end if;
end;
$$;
comment on function rowmill.check_kept_columns is
  'Whether the columns that an altered pipeline goes on naming are there. Raises RM101.';
revoke all on function rowmill.check_kept_columns from public;
