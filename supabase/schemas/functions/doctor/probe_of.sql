-- API: internal
create or replace function rowmill.probe_of(is_large boolean)
returns rowmill.probe
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_net text := 'net';
  v_aim text := rowmill.ping_aim();
  v_patience interval;
  v_ping rowmill.pings;
  v_is_queued boolean;
  v_answer_id bigint;
  v_taken_at timestamptz;
  v_status_code integer;
  v_timed_out boolean;
  v_error_msg text;
  v_content text;
  v_content_type text;
  v_headers jsonb;
  v_probe rowmill.probe;
begin
  if v_aim is null or not rowmill.may_read('net._http_response') then
    return v_probe;
  end if;
  -- Its own time, and that of a round that was under way before.
  select 2 * s.post_timeout_ms * interval '1 millisecond' + interval '5 seconds' into strict v_patience from rowmill.settings as s;
  for v_ping in
    select p.*
    from rowmill.pings as p
    where p.purpose = 'doctor' and p.aim = v_aim and p.request_id is not null
    and (p.bytes > 100000) = probe_of.is_large
    and p.sent_at > now() - interval '10 minutes'
    order by p.id desc
  loop
    -- By time first: there is no index on the id, and after a crash another request may have the same one.
    execute format(
      'select r.id, r.created, r.status_code, r.timed_out, r.error_msg, r.content, r.content_type, r.headers from %I._http_response as r where r.created between $1 - interval ''5 seconds'' and $1 + interval ''10 minutes'' and r.id = $2 limit 1', v_net
    )
    into v_answer_id, v_taken_at, v_status_code, v_timed_out, v_error_msg, v_content, v_content_type, v_headers
    using v_ping.sent_at, v_ping.request_id;
    -- Another's answer, where it names another ping or a chunk.
    if v_answer_id is not null and v_status_code between 200 and 299
      and coalesce(rowmill.json_or_null(v_content) ? 'chunk_id' or rowmill.json_or_null(v_content) ->> 'ping' <> v_ping.id::text, false)
    then
      v_answer_id := null;
    end if;
    if v_probe.newest_at is null then
      v_probe.newest_at := v_ping.sent_at;
      v_probe.newest_state := case
        when v_answer_id is not null then 'answered'
        when v_ping.sent_at > clock_timestamp() - v_patience then 'open'
      end;
      if v_probe.newest_state is null then
        v_is_queued := false;
        if rowmill.may_read('net.http_request_queue') then
          execute format('select exists (select from %I.http_request_queue as q where q.id = $1)', v_net)
          into strict v_is_queued
          using v_ping.request_id;
        end if;
        v_probe.newest_state := case when v_is_queued then 'queued' else 'lost' end;
      end if;
    end if;
    if v_answer_id is not null then
      v_probe.ping_id := v_ping.id;
      v_probe.sent_at := v_ping.sent_at;
      v_probe.taken_at := v_taken_at;
      v_probe.status_code := v_status_code;
      v_probe.timed_out := v_timed_out;
      v_probe.error_msg := v_error_msg;
      v_probe.content := v_content;
      v_probe.content_type := v_content_type;
      select h.value into v_probe.server_date from jsonb_each_text(v_headers) as h where lower(h.key) = 'date' limit 1;
      exit;
    end if;
  end loop;
  return v_probe;
end;
$$;
comment on function rowmill.probe_of is
  'What became of the small or the large pings of the last ten minutes that went to today''s endpoint under today''s secret.';
revoke all on function rowmill.probe_of from public;
