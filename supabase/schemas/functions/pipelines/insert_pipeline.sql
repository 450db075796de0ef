-- API: internal
create or replace function rowmill.insert_pipeline(
  definition rowmill.pipelines -- as check_definition returns it; id, the names of the tables and what is not declared are ignored
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  insert into rowmill.pipelines (
    name, source, source_name, target, target_name, key_columns, target_key_columns, inputs, outputs, provenance,
    filter, filter_columns, filter_uses, instructions, prompt, placeholder_style, model, endpoint, format, params, response_schema,
    own_schema, chunk_size, flush_after, max_attempts, budget_usd, daily_budget_usd
  )
  select
    definition.name, definition.source, s.relname, definition.target, t.relname,
    definition.key_columns, definition.target_key_columns, definition.inputs, definition.outputs, definition.provenance,
    definition.filter, definition.filter_columns, definition.filter_uses, definition.instructions, definition.prompt,
    definition.placeholder_style, definition.model, definition.endpoint, definition.format, definition.params, definition.response_schema,
    definition.own_schema, definition.chunk_size, definition.flush_after, definition.max_attempts,
    definition.budget_usd, definition.daily_budget_usd
  from pg_class as s, pg_class as t
  where s.oid = definition.source and t.oid = definition.target
  returning id into strict v_id;
  return v_id;
end;
$$;
comment on function rowmill.insert_pipeline is
  'Stores a new pipeline in its first version, with the names that its tables have now; returns its id.';
revoke all on function rowmill.insert_pipeline from public;
