-- API: internal
create or replace function rowmill.stop_pipeline(
  pipeline_id bigint,
  reason text -- a sentence with its full stop
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.pipelines as p
  set state = 'paused', state_reason = format('%s Once it is mended: select rowmill.resume_pipeline(%L);', stop_pipeline.reason, p.name)
  where p.id = stop_pipeline.pipeline_id and p.state = 'active';
$$;
comment on function rowmill.stop_pipeline is
  'Pauses a pipeline that would only go on to fail, with the reason and what to do.';
revoke all on function rowmill.stop_pipeline from public;
