-- API: internal
create or replace function rowmill.pipeline_problem(pipeline_id bigint)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_error record;
  v_structure text := rowmill.structure_problem(pipeline_id);
  v_missing text;
begin
  if v_structure is not null then
    return v_structure;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = pipeline_problem.pipeline_id;

  select string_agg(w.name, ', ' order by w.name) into v_missing
  from (values (format('rowmill_%s_insert', v_pipeline.id)), (format('rowmill_%s_update', v_pipeline.id))) as w(name)
  where not exists (
    select from pg_trigger as t where t.tgrelid = v_pipeline.source and t.tgname = w.name and t.tgenabled <> 'D'
  );
  if v_missing is not null then
    return format('trigger %s on %s is missing or disabled, so that rows are not queued; enable it, or drop_pipeline(%L) and create it again', v_missing, v_pipeline.source, v_pipeline.name);
  end if;

  select count(*) over () as times, e.sqlstate, e.message, e.happened_at, e.keys_lost into v_error
  from rowmill.trigger_errors as e
  where e.pipeline_id = v_pipeline.id
  order by e.keys_lost desc, e.happened_at desc
  limit 1;
  if found and v_error.keys_lost then
    return format('rows could not be queued, last at %s: %s (%s); mend it, then: select rowmill.backfill(%L, only_missing => true)',
      date_trunc('second', v_error.happened_at), v_error.message, v_error.sqlstate, v_pipeline.name);
  end if;
  return coalesce(v_pipeline.problem, case when v_error.message is not null then format('a chunk waits for the tick: %s (%s)', v_error.message, v_error.sqlstate) end);
end;
$$;
comment on function rowmill.pipeline_problem is
  'What is wrong with a pipeline now, and what to do, in words; null where nothing is.';
revoke all on function rowmill.pipeline_problem from public;
