-- API: public
create or replace function rowmill.preview_pipeline(pipeline text)
returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_queued bigint;
begin
  select
    coalesce((
      select sum(c.row_count) from rowmill.chunks as c where c.pipeline_id = v_pipeline.id and c.state in ('waiting', 'accepted')
    ), 0)
    + coalesce((select sum(k.row_count) from rowmill.pending_keys as k where k.pipeline_id = v_pipeline.id), 0)
  into strict v_queued;
  return json_build_object('definition', rowmill.get_pipeline(v_pipeline.id), 'queued', v_queued, 'state', v_pipeline.state);
end;
$$;
comment on function rowmill.preview_pipeline is
   '{"definition", "queued", "state"}: a pipeline as a worker sees it, and how many rows wait. Raises RM111.';
revoke all on function rowmill.preview_pipeline from public;
