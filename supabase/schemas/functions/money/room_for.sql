-- API: internal
create or replace function rowmill.room_for(pipeline_id bigint)
returns rowmill.room
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_room rowmill.room;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = room_for.pipeline_id;
  v_room.usd_comes := false;
  if v_pipeline.state <> 'active' then
    v_room.code := v_pipeline.state;
    v_room.reason := coalesce(v_pipeline.state_reason, 'The pipeline is paused; resume_pipeline goes on.');
    return v_room;
  end if;
  if v_pipeline.wait_until > now() then
    v_room.code := 'provider';
    v_room.reason := format('%s Tried again at %s.', v_pipeline.wait_reason,
      to_char(v_pipeline.wait_until at time zone 'UTC', 'HH24:MI:SS UTC'));
    return v_room;
  end if;
  v_room := rowmill.room_in_queue(v_room, v_pipeline.model);
  if v_room.code is null then
    v_room := rowmill.room_in_budgets(v_room, v_pipeline.id);
  end if;
  if v_room.code is null then
    v_room := rowmill.room_within_hour(v_room);
  end if;
  return v_room;
end;
$$;
comment on function rowmill.room_for is
  'Whether a pipeline may submit now: budgets, the model''s queue, batches an hour, the provider''s mood. Says why not, or how much fits.';
revoke all on function rowmill.room_for from public;
