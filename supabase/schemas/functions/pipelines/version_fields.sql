-- API: internal
create or replace function rowmill.version_fields(definition rowmill.pipelines)
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- Neither the tables, which cannot be altered, and whose names may be: a regclass is its name in JSON.
  select json_build_object(
    'source_name', definition.source_name,
    'inputs', definition.inputs,
    'outputs', definition.outputs,
    'filter', definition.filter,
    'filter_columns', definition.filter_columns,
    'filter_uses', definition.filter_uses,
    'instructions', definition.instructions,
    'prompt', definition.prompt,
    'placeholder_style', definition.placeholder_style,
    'model', definition.model,
    'endpoint', definition.endpoint,
    'format', definition.format,
    'params', definition.params,
    'response_schema', definition.response_schema,
    'own_schema', definition.own_schema,
    'provenance', definition.provenance
  );
$$;
comment on function rowmill.version_fields is
  'What makes a version of a pipeline: a change of any of these is a new one.';
revoke all on function rowmill.version_fields from public;
