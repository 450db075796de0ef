-- API: internal
create or replace function rowmill.trigger_problem(pipeline_id bigint)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_missing text;
  v_lost record;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = trigger_problem.pipeline_id;
  select string_agg(w.name, ', ' order by w.name) into v_missing
  from (values (format('rowmill_%s_insert', v_pipeline.id)), (format('rowmill_%s_update', v_pipeline.id))) as w(name)
  where not exists (
    select from pg_trigger as t where t.tgrelid = v_pipeline.source and t.tgname = w.name and t.tgenabled <> 'D'
  );
  if v_missing is not null then
    return format(
      'trigger %s on %s is missing or disabled, so that rows are not queued; enable it, or drop_pipeline(%L) and create it again',
      v_missing, v_pipeline.source, v_pipeline.name
    );
  end if;

  v_lost := rowmill.lost_keys_problem(v_pipeline);
  return v_lost.problem || '; remove the cause, then: ' || v_lost.remedy;
end;
$$;
comment on function rowmill.trigger_problem is
  'Why rows of a pipeline are not queued, or were not, and what to do, in words; null where nothing is wrong with its triggers.';
revoke all on function rowmill.trigger_problem from public;
