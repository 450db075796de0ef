-- API: internal
create or replace function rowmill.room_in_queue(room rowmill.room, model text)
returns rowmill.room
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_blocked_until timestamptz;
begin
  select m.blocked_until into v_blocked_until from rowmill.model_states as m where m.model = room_in_queue.model;
  if v_blocked_until > now() then
    room.code := 'tokens';
    room.reason := format('The provider''s queue for %s is full; tried again at %s.', room_in_queue.model,
      to_char(v_blocked_until at time zone 'UTC', 'HH24:MI:SS UTC'));
    return room;
  end if;
  select t.tokens_left, t.in_queue, t.in_queue > 0 into strict room.tokens, room.tokens_in_queue, room.tokens_come
  from rowmill.tokens_left(room_in_queue.model) as t;
  if room.tokens <= 0 then
    room.code := 'tokens';
    room.reason := format('The queue for %s is full: %s input tokens are in it. It goes on when batches end.',
      room_in_queue.model, room.tokens_in_queue);
  end if;
  return room;
end;
$$;
comment on function rowmill.room_in_queue is
  'A room with what a model''s queue at the provider still takes; with a code where it takes nothing.';
revoke all on function rowmill.room_in_queue from public;
