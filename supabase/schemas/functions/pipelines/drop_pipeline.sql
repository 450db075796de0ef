-- API: public
create or replace function rowmill.drop_pipeline(pipeline text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_batch_id bigint;
begin
  perform rowmill.detach_triggers(v_pipeline.id);
  update rowmill.pipelines as p
  set state = 'dropped', dropped_at = now(), state_reason = null
  where p.id = v_pipeline.id;
  delete from rowmill.pending_keys as k where k.pipeline_id = v_pipeline.id;
  delete from rowmill.chunk_rows as r where r.pipeline_id = v_pipeline.id;
  delete from rowmill.failures as f where f.pipeline_id = v_pipeline.id;
  delete from rowmill.trigger_errors as e where e.pipeline_id = v_pipeline.id;
  delete from rowmill.backfills as b where b.pipeline_id = v_pipeline.id;
  delete from rowmill.pipeline_versions as v where v.pipeline_id = v_pipeline.id;
  delete from rowmill.row_versions as v where v.pipeline_id = v_pipeline.id;
  -- A worker that holds one of these finds it done and lets go.
  update rowmill.chunks as c
  set state = 'done', owner = null, lease_until = null, keys = null, ended_at = now(), waits_for = null, wait_reason = null
  where c.pipeline_id = v_pipeline.id and c.state <> 'done';
  -- Nobody waits for what still runs: it is cancelled at the provider, and its files are deleted.
  update rowmill.batch_processing_details as b
  set cancel_asked = true, poll_at = now()
  where b.pipeline_id = v_pipeline.id and b.state = 'running';
  for v_batch_id in
    select b.id from rowmill.batch_processing_details as b where b.pipeline_id = v_pipeline.id and b.state = 'ended' order by b.id
  loop
    perform rowmill.settle_money(v_batch_id);
  end loop;
  update rowmill.batch_processing_details as b
  set state = 'harvested', owner = null, lease_until = null
  where b.pipeline_id = v_pipeline.id and b.state = 'ended';
  update rowmill.batch_processing_details as b
  set cancel_asked = true
  where b.pipeline_id = v_pipeline.id and b.state = 'preparing';
end;
$$;
comment on function rowmill.drop_pipeline is
  'Takes the triggers off the table and forgets what is queued; batches that run are cancelled at the provider and their answers '
  'discarded. Columns and their contents stay. Raises RM111, also when it is called again: the pipeline is gone.';
revoke all on function rowmill.drop_pipeline from public;
