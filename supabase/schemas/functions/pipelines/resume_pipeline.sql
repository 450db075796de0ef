-- API: public
create or replace function rowmill.resume_pipeline(pipeline text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  update rowmill.pipelines as p
  set
    state = 'active', state_reason = null, problem = null, problem_at = null, problem_by = null,
    failed_in_row = 0, rows_failed_in_row = 0, strikes = 0, wait_until = null, wait_reason = null
  where p.id = v_pipeline.id;
end;
$$;
comment on function rowmill.resume_pipeline is
  'Goes on with what is queued, and forgets the problem, waits and failures in a row. Raises RM111. '
  'For a pipeline that is active already it does the same: a retry is harmless.';
revoke all on function rowmill.resume_pipeline from public;
