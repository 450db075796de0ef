-- API: internal
create or replace function rowmill.source_parts_of(
  pipeline_id bigint,
  version integer default null -- null: the current one
)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_problem text := rowmill.structure_problem(pipeline_id, version);
  v_parts rowmill.source_parts;
begin
  if v_problem is not null then
    raise exception using errcode = 'RM201', message = v_problem;
  end if;
  v_pipeline := rowmill.definition_of(source_parts_of.pipeline_id, source_parts_of.version);
  v_parts.relation := v_pipeline.source::text;
  v_parts := rowmill.add_key_parts(v_parts, v_pipeline);
  v_parts := rowmill.add_input_parts(v_parts, v_pipeline);
  v_parts.selected := rowmill.selected_condition(v_pipeline);
  v_parts := rowmill.add_output_parts(v_parts, v_pipeline);
  if v_pipeline.target <> v_pipeline.source then
    v_parts := rowmill.add_target_parts(v_parts, v_pipeline);
  end if;
  return v_parts;
end;
$$;
comment on function rowmill.source_parts_of is
  'The pieces of SQL that forming, reading and applying are made of, for a version. Raises RM201 '
  'where a table or a column is gone, or somebody else''s code would run (structure_problem).';
revoke all on function rowmill.source_parts_of from public;
