-- API: public
create or replace function rowmill.cancel_pipeline(pipeline text)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_batches integer;
begin
  update rowmill.pipelines as p
  set state = 'paused', state_reason = 'It was cancelled. What was answered is collected; the rest waits in the queue.'
  where p.id = v_pipeline.id;
  update rowmill.batch_processing_details as b
  set cancel_asked = true, poll_at = case b.state when 'running' then now() else b.poll_at end
  where b.pipeline_id = v_pipeline.id and b.state in ('preparing', 'running');
  get diagnostics v_batches = row_count;
  return v_batches;
end;
$$;
comment on function rowmill.cancel_pipeline is
  'Pauses a pipeline and has all that runs cancelled; returns how many batches. What was answered, and so paid for, is collected; '
  'the other rows wait in the queue for resume_pipeline. Raises RM111.';
revoke all on function rowmill.cancel_pipeline from public;
