-- API: internal
create or replace function rowmill.pipeline_problem(pipeline_id bigint)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_problem text := coalesce(rowmill.structure_problem(pipeline_id), rowmill.trigger_problem(pipeline_id));
  v_error record;
begin
  if v_problem is not null then
    return v_problem;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = pipeline_problem.pipeline_id;
  if v_pipeline.problem is not null then
    return v_pipeline.problem;
  end if;
  select e.what, e.sqlstate, e.message into v_error
  from rowmill.trigger_errors as e
  where e.pipeline_id = v_pipeline.id
  order by e.what <> 'chunk' desc, e.happened_at desc
  limit 1;
  if found then
    return format('%s for the tick: %s (%s)',
      case v_error.what when 'chunk' then 'a chunk waits' else 'keys that could not be queued wait' end, v_error.message, v_error.sqlstate);
  end if;
  return null;
end;
$$;
comment on function rowmill.pipeline_problem is 'What is wrong with a pipeline now, and what to do, in words; null where nothing is.';
revoke all on function rowmill.pipeline_problem from public;
