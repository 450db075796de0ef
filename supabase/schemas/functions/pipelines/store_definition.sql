-- API: internal
create or replace function rowmill.store_definition(
  old_definition rowmill.pipelines, -- as it stands in the table, locked
  new_definition rowmill.pipelines
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if new_definition.version > old_definition.version then
    insert into rowmill.pipeline_versions (pipeline_id, version, definition)
    values (old_definition.id, old_definition.version, rowmill.version_fields(old_definition));
  end if;
  update rowmill.pipelines as p
  set
    version = new_definition.version, source_name = new_definition.source_name, inputs = new_definition.inputs,
    outputs = new_definition.outputs, provenance = new_definition.provenance, filter = new_definition.filter,
    filter_columns = new_definition.filter_columns, filter_uses = new_definition.filter_uses, instructions = new_definition.instructions,
    prompt = new_definition.prompt, placeholder_style = new_definition.placeholder_style, model = new_definition.model,
    endpoint = new_definition.endpoint, format = new_definition.format, params = new_definition.params,
    response_schema = new_definition.response_schema, own_schema = new_definition.own_schema,
    chunk_size = new_definition.chunk_size, flush_after = new_definition.flush_after,
    max_attempts = new_definition.max_attempts, budget_usd = new_definition.budget_usd,
    daily_budget_usd = new_definition.daily_budget_usd
  where p.id = old_definition.id;
  if new_definition.version > old_definition.version then
    perform rowmill.try_definition(old_definition.id);
  end if;
  if new_definition.chunk_size <> old_definition.chunk_size then
    perform rowmill.write_trigger_functions(old_definition.id);
  end if;
  if rowmill.watched_columns(new_definition) <> rowmill.watched_columns(old_definition) then
    perform rowmill.attach_triggers(old_definition.id, anew => true);
  end if;
end;
$$;
comment on function rowmill.store_definition is
  'Puts an altered definition in the place of the old one, which stays in pipeline_versions if the version is another; plans what will '
  'run, and makes the triggers follow. Raises RM102, RM104.';
revoke all on function rowmill.store_definition from public;
