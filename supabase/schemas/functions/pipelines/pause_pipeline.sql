-- API: public
create or replace function rowmill.pause_pipeline(
  pipeline text,
  reason text default null -- stands in pipelines.state_reason; flush tells it
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  update rowmill.pipelines as p
  set state = 'paused', state_reason = pause_pipeline.reason
  where p.id = v_pipeline.id;
end;
$$;
comment on function rowmill.pause_pipeline is
  'Sends nothing more. Rows go on being queued, and what runs at the provider is collected. Raises RM111. '
  'Called again it replaces the reason, and changes nothing else.';
revoke all on function rowmill.pause_pipeline from public;
