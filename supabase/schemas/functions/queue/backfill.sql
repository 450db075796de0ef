-- API: public
create or replace function rowmill.backfill(
  pipeline text,
  only_missing boolean default false -- true: only rows whose outputs are all null and that are nowhere in work
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  insert into rowmill.backfills as b (pipeline_id, only_missing, lost_keys)
  values (v_pipeline.id, backfill.only_missing, rowmill.lost_keys(v_pipeline.id))
  on conflict (pipeline_id) do update
  set
    only_missing = excluded.only_missing, lost_keys = excluded.lost_keys, version_below = null, after_key = null,
    rows_queued = 0, started_at = clock_timestamp(), finished_at = null;
  return format('backfill of %s begun; select * from rowmill.pipeline_status shows how far it is', v_pipeline.name);
end;
$$;
comment on function rowmill.backfill is
  'Queues the rows that are in the table already; the tick does so in slices of 10,000, and goes on after a crash. Every row that '
  'is queued is paid for; only_missing queues just those whose outputs are all null and that are not in flight, waiting or failed. '
  'A second call begins anew. Raises RM111.';
revoke all on function rowmill.backfill from public;
