-- API: internal
create or replace function rowmill.pack_chunks(
  pipeline_id bigint,
  worker text,
  sharers integer -- pipelines that wait for the same model, this one among them
)
returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_room rowmill.room := rowmill.room_for(pipeline_id);
  v_ids bigint[];
begin
  if v_room.code is not null or rowmill.is_being_tried(pipeline_id) then
    return null;
  end if;
  v_ids := rowmill.pick_chunks(pipeline_id, v_room, sharers);
  update rowmill.chunks as c
  set state = 'accepted', owner = pack_chunks.worker, lease_until = now() + s.lease, waits_for = null, wait_reason = null
  from rowmill.settings as s
  where c.id = any (v_ids);
  return v_ids;
end;
$$;
comment on function rowmill.pack_chunks is
  'Takes waiting chunks of one pipeline that fit into one batch and into the room that there is, the oldest first; returns their ids, '
  'null where there is no room. What found no room before is packed as tightly as it goes; what was never tried travels by itself, '
  'or by hundredths of a long queue, or as the batches that are left of the hour demand it.';
revoke all on function rowmill.pack_chunks from public;
