-- API: internal
create or replace function rowmill.fills_inputs_of(filling rowmill.pipelines, reading rowmill.pipelines)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select filling.target = reading.source and exists (
    select
    from jsonb_array_elements(filling.outputs || filling.provenance) as o
    join jsonb_array_elements(reading.inputs || reading.filter_columns) as i on i.value -> 'attnum' = o.value -> 'attnum'
  );
$$;
comment on function rowmill.fills_inputs_of is 'Whether a definition writes into a column that the other reads.';
revoke all on function rowmill.fills_inputs_of from public;
