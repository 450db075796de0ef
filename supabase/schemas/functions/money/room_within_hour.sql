-- API: internal
create or replace function rowmill.room_within_hour(room rowmill.room)
returns rowmill.room
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit integer;
begin
  select s.batches_per_hour into strict v_limit from rowmill.settings as s;
  select v_limit - count(*) into strict room.batches
  from rowmill.batch_processing_details as b
  where b.created_at > now() - interval '1 hour' and b.state <> 'abandoned';
  if room.batches <= 0 then
    room.code := 'rate';
    room.reason := format('%s batches were created within the last hour, which is the limit; '
      'what waits is packed into larger ones.', v_limit);
  end if;
  return room;
end;
$$;
comment on function rowmill.room_within_hour is
  'A room with how many batches may yet be created within the hour; with a code where none may.';
revoke all on function rowmill.room_within_hour from public;
