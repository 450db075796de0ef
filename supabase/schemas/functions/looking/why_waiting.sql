-- API: internal
create or replace function rowmill.why_waiting(pipeline_id bigint, key jsonb)
returns table (explanation text, chunk_id bigint)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text;
begin
  select c.id, c.wait_reason into why_waiting.chunk_id, v_reason
  from rowmill.chunks as c
  where c.pipeline_id = why_waiting.pipeline_id and c.state in ('waiting', 'accepted')
  and exists (select from jsonb_array_elements(c.keys) as k(key) where k.key = why_waiting.key)
  limit 1;
  if not found then
    return;
  end if;
  v_reason := coalesce((rowmill.room_for(why_waiting.pipeline_id)).reason, v_reason);
  why_waiting.explanation := case
    when v_reason is null then 'It is in a chunk that waits for a worker.'
    else format('It is in a chunk that waits for room. %s', v_reason)
  end;
  return next;
end;
$$;
comment on function rowmill.why_waiting is
  'What the chunk waits for that a row is in; nothing where it is in no open chunk.';
revoke all on function rowmill.why_waiting from public;
