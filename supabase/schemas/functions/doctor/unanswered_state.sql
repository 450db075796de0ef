-- API: internal
create or replace function rowmill.unanswered_state(ping rowmill.pings)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_net text := 'net';
  v_patience interval;
  v_is_queued boolean := false;
begin
  -- Its own time, and that of a round that was under way before.
  select 2 * s.post_timeout_ms * interval '1 millisecond' + interval '5 seconds' into strict v_patience from rowmill.settings as s;
  if (unanswered_state.ping).sent_at > clock_timestamp() - v_patience then
    return 'open';
  end if;
  if rowmill.may_read('net.http_request_queue') then
    execute format('select exists (select from %I.http_request_queue as q where q.id = $1)', v_net)
    into strict v_is_queued
    using (unanswered_state.ping).request_id;
  end if;
  return case when v_is_queued then 'queued' else 'lost' end;
end;
$$;
comment on function rowmill.unanswered_state is
  'What a ping without an answer is: open, queued or lost (see the type probe).';
revoke all on function rowmill.unanswered_state from public;
