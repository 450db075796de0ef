-- API: internal
create or replace function rowmill.try_definition(pipeline_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_parts rowmill.source_parts := rowmill.source_parts_of(pipeline_id);
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = try_definition.pipeline_id;
  -- The pieces are put together and planned once here, so that what cannot run fails now and not at night.
  begin
    execute format('select %s, %s from (select null::jsonb as key) as k join %s as s on %s order by %s limit 0',
      v_parts.key_value, v_parts.hash, v_parts.relation, v_parts.key_match, v_parts.key_list);
  exception when others then
    raise exception using errcode = 'RM104', message = format('the rows of %s cannot be found by their primary key', v_pipeline.source),
      detail = sqlerrm, hint = 'Use a key of numbers, text, uuid, dates or the like.';
  end;
  begin
    execute format('select from %s as s where %s limit 0', v_parts.relation, v_parts.selected);
  exception when others then
    raise exception using errcode = 'RM102', message = format('the filter is not a condition over %s', v_pipeline.source),
      detail = format('%s: %s', v_pipeline.filter, sqlerrm),
      hint = 'Write it as after WHERE, e.g. ''description is not null''; name columns alone or with their table, without its schema.';
  end;
end;
$$;
comment on function rowmill.try_definition is
  'Plans what a pipeline will run. Raises RM104, RM102.';
revoke all on function rowmill.try_definition from public;
