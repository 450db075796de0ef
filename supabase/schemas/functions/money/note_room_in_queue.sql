-- API: internal
create or replace function rowmill.note_room_in_queue(model text, tokens bigint)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.model_states as m
  set
    strikes = 0, blocked_until = null,
    learned_tokens = rowmill.clamped(m.learned_tokens + ceil(note_room_in_queue.tokens * 0.25))
  where m.model = note_room_in_queue.model;
$$;
comment on function rowmill.note_room_in_queue is
  'A batch of so many tokens ended well: a quarter of them more is tried next.';
revoke all on function rowmill.note_room_in_queue from public;
