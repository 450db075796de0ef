-- API: internal
create or replace function rowmill.detach_triggers(pipeline_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Cascade takes the triggers along, on whatever tables they are.
  execute format('drop function if exists rowmill.enqueue_inserted_%s() cascade', detach_triggers.pipeline_id);
  execute format('drop function if exists rowmill.enqueue_edited_%s() cascade', detach_triggers.pipeline_id);
  execute format('drop sequence if exists rowmill.lost_keys_%s', detach_triggers.pipeline_id);
end;
$$;
comment on function rowmill.detach_triggers is 'Drops a pipeline''s triggers and what was made for them.';
revoke all on function rowmill.detach_triggers from public;
