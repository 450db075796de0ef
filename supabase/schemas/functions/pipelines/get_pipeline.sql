-- API: worker
create or replace function rowmill.get_pipeline(
  pipeline_id bigint,
  version integer default null -- null: the current one
)
returns json
language sql
stable
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'id', p.id, 'name', p.name, 'version', p.version,
    'instructions', p.instructions, 'prompt', p.prompt, 'placeholder_style', p.placeholder_style,
    'inputs', (
      select json_agg(i.value -> 'name' order by i.place)
      from jsonb_array_elements(p.inputs) with ordinality as i(value, place)
    ),
    'outputs', (
      select json_agg(json_build_object('name', o.value -> 'name', 'encoding', o.value -> 'encoding') order by o.place)
      from jsonb_array_elements(p.outputs) with ordinality as o(value, place)
    ),
    'model', p.model, 'endpoint', p.endpoint, 'format', p.format, 'params', p.params,
    'output_cap', case when rowmill.has_budget(p.id) then s.max_output_tokens end,
    'response_schema_text', p.response_schema::text
  )
  from rowmill.definition_of(get_pipeline.pipeline_id, get_pipeline.version) as p
  cross join rowmill.settings as s
  where p.id is not null;
$$;
comment on function rowmill.get_pipeline is
  'What a worker must know of a version of a pipeline to ask and to read answers; null where there is none. The schema comes as text: '
  'the order of its properties matters. It only reads: a retry is harmless.';
revoke all on function rowmill.get_pipeline from public;
