-- What becomes of doctor()'s pings. Workers need not stop.

create type rowmill.probe as (
  newest_at timestamptz, newest_state text,
  ping_id bigint, sent_at timestamptz, taken_at timestamptz,
  status_code integer, timed_out boolean, error_msg text, content text, content_type text, server_date text
);
comment on type rowmill.probe is
  'The newest of doctor()''s pings of a size (open, answered, queued: too long in pg_net''s queue, lost: neither there nor answered), and the newest answer.';

-- API: internal
create function rowmill.why_no_post()
returns text
language sql
stable
set search_path = ''
as $$
  select case
    when not exists (select from rowmill.settings as s where s.endpoint_url is not null) then 'no endpoint is set'
    when not rowmill.has_pg_net() then 'pg_net is not there to post with'
    when not rowmill.has_ingest_secret() then 'there is no secret to sign with'
    when rowmill.ping_aim() is null then 'the secret cannot be used'
    when not rowmill.may_read('net._http_response') then 'net._http_response may not be read'
  end;
$$;
comment on function rowmill.why_no_post() is 'Why doctor() can post nothing and see no answer; null where it can.';
revoke all on function rowmill.why_no_post() from public;

-- API: internal
create function rowmill.probe_of(is_large boolean)
returns rowmill.probe
language plpgsql
stable
set search_path = ''
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
comment on function rowmill.probe_of(boolean) is 'What became of the small or the large pings of the last ten minutes that went to today''s endpoint under today''s secret.';
revoke all on function rowmill.probe_of(boolean) from public;

-- API: internal
create function rowmill.has_arrived(probe rowmill.probe)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select coalesce((has_arrived.probe).status_code = 200
    and rowmill.json_or_null((has_arrived.probe).content) ->> 'ping' = (has_arrived.probe).ping_id::text, false);
$$;
comment on function rowmill.has_arrived(rowmill.probe) is 'Whether a worker answered the ping.';
revoke all on function rowmill.has_arrived(rowmill.probe) from public;

-- API: internal
create function rowmill.post_probes()
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_settings rowmill.settings;
  v_probe rowmill.probe;
  v_is_large boolean;
begin
  -- Without a look at the answers it would post at every call.
  if rowmill.why_no_post() is not null then
    return;
  end if;
  select s.* into strict v_settings from rowmill.settings as s;
  foreach v_is_large in array case when v_settings.post_rows then array[false, true] else array[false] end loop
    v_probe := rowmill.probe_of(v_is_large);
    if v_probe.newest_at is null
      or v_probe.newest_at < now() - interval '1 minute'
      or v_probe.newest_state = 'lost'
      -- Somebody may have mended it.
      or (v_probe.newest_state = 'answered' and not rowmill.has_arrived(v_probe) and v_probe.newest_at < now() - interval '3 seconds')
    then
      -- From 1 MiB on curl asks first whether a body is welcome, which not every proxy understands.
      perform rowmill.post_ping('doctor', case when v_is_large then 1100000 else 0 end);
    end if;
  end loop;
end;
$$;
comment on function rowmill.post_probes() is 'Posts a small and a large ping where none was posted within the last minute, or where the last one failed. Raises where the secret is none.';
revoke all on function rowmill.post_probes() from public;

-- API: worker
create function rowmill.probes_under_way()
returns table (probes integer, now_ms double precision)
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  select
    (((rowmill.probe_of(false)).newest_state is not distinct from 'open')::integer + ((rowmill.probe_of(true)).newest_state is not distinct from 'open')::integer),
    extract(epoch from clock_timestamp())::double precision * 1000;
$$;
comment on function rowmill.probes_under_way() is 'How many of doctor()''s posts may yet be answered, and what time it is here, in milliseconds since 1970.';
revoke all on function rowmill.probes_under_way() from public;

-- API: worker
create function rowmill.knows_secret(
  challenge text,
  proof text -- base64 of the HMAC-SHA-256 of 'rowmill doctor ' and the challenge
)
returns boolean
language plpgsql
stable
security definer -- the worker has no rights on the secret
set search_path = ''
as $$
begin
  if not rowmill.has_ingest_secret() then
    return null;
  end if;
  return knows_secret.proof = encode(rowmill.hmac_sha256(
    convert_to('rowmill doctor ' || knows_secret.challenge, 'UTF8'), decode(substr(rowmill.ingest_secret(), 7), 'base64')
  ), 'base64');
exception when others then
  return null; -- it is malformed, or cannot be decrypted: see the check of the secret
end;
$$;
comment on function rowmill.knows_secret(text, text) is 'Whether somebody has the secret that signs posts, without either side saying it; null where there is none, or none that can be used.';
revoke all on function rowmill.knows_secret(text, text) from public;
