-- API: internal
create or replace function rowmill.definition_of(
  pipeline_id bigint,
  version integer default null -- null: the current one
)
returns rowmill.pipelines
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_definition json;
begin
  select p.* into v_pipeline from rowmill.pipelines as p where p.id = definition_of.pipeline_id;
  if not found or definition_of.version is null or definition_of.version = v_pipeline.version then
    return v_pipeline;
  end if;
  select v.definition into v_definition
  from rowmill.pipeline_versions as v
  where v.pipeline_id = definition_of.pipeline_id and v.version = definition_of.version;
  if not found then
    return null;
  end if;
  v_pipeline := json_populate_record(v_pipeline, v_definition);
  v_pipeline.version := definition_of.version;
  return v_pipeline;
end;
$$;
comment on function rowmill.definition_of is
  'A pipeline as it was in a version, or as it is now; state, problem, budgets and sizes are today''s. null where there is none.';
revoke all on function rowmill.definition_of from public;
