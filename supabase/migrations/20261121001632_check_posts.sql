-- Whether posts arrive, are believed, and what the clocks show. Workers need not stop.

-- API: internal
create function rowmill.shown_url(url text)
returns text
language sql
immutable
set search_path = ''
as $$
  -- What an address may hide is shown to nobody.
  select regexp_replace(regexp_replace(shown_url.url, '//[^/@]*@', '//***@'), '\?.*$', '?***');
$$;
comment on function rowmill.shown_url(text) is 'An address without the user, the password and the query that may stand in it.';
revoke all on function rowmill.shown_url(text) from public;

-- API: internal
create function rowmill.judge_answer(probe rowmill.probe)
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_url text;
  v_timeout integer;
  v_answer jsonb := rowmill.json_or_null((probe).content);
  v_code text := v_answer -> 'error' ->> 'code';
  v_elsewhere text := 'Correct the address: select rowmill.set_endpoint(''https://worker.example.com''); a worker takes posts at /v1/chunks.';
begin
  select rowmill.shown_url(s.endpoint_url), s.post_timeout_ms
  into strict v_url, v_timeout
  from rowmill.settings as s;
  return case
    when (probe).timed_out then row(
      'fault', format('no answer from %s within %s ms', v_url, v_timeout),
      'Make the worker reachable from the database''s network: firewall, address, port. A slow one: update rowmill.settings set post_timeout_ms = 30000;'
    )::rowmill.finding
    when (probe).error_msg is not null then row(
      'fault', format('%s was not reached: %s', v_url, (probe).error_msg),
      'Start a worker there (HOST=0.0.0.0 where others reach it), or correct the address: select rowmill.set_endpoint(''https://worker.example.com'');'
    )::rowmill.finding
    when rowmill.has_arrived(probe) then row(
      'ok', format('a worker answered; pg_net took the post up after %s ms', greatest(0, round(extract(epoch from (probe).taken_at - (probe).sent_at) * 1000))), null
    )::rowmill.finding
    when v_code in ('bad_signature', 'no_secret') then row(
      'warning', 'it arrived, and the worker does not believe its signature', 'See the check of the secret.'
    )::rowmill.finding
    when v_code = 'bad_timestamp' then row(
      'warning', 'it arrived, and the worker''s clock says that it is not of now', 'See the check of the clock.'
    )::rowmill.finding
    when v_code in ('busy', 'database_unreachable') then row(
      'note', format('it arrived, and the worker turned it away for now: %s', left(v_answer -> 'error' ->> 'message', 100)), 'Ask again in a minute. Should it stay so, look at the worker''s log.'
    )::rowmill.finding
    when (probe).status_code = 413 then row(
      'fault', format('%s, or a proxy before it, takes no body of that length (413)', v_url),
      'Let the proxy take 8 MB, or post numbers without rows: update rowmill.settings set post_rows = false;'
    )::rowmill.finding
    when (probe).status_code = 422 then row(
      'warning', 'an older worker answers, which knows no pings', 'Bring the worker to the version of the migrations.'
    )::rowmill.finding
    when (probe).status_code in (502, 503, 504) then row(
      'fault', format('a proxy at %s answers that no worker is behind it (%s)', v_url, (probe).status_code), 'Start a worker, or correct the proxy.'
    )::rowmill.finding
    when (probe).status_code in (301, 302, 303, 404, 405) or coalesce((probe).content_type, '') like 'text/html%' then row(
      'fault', format('something else than a worker answers at %s (%s)', v_url, (probe).status_code), v_elsewhere
    )::rowmill.finding
    else row(
      'fault', format('%s answered %s instead of the ping: %s', v_url, (probe).status_code, left(regexp_replace(coalesce((probe).content, 'nothing'), '\s+', ' ', 'g'), 60)), v_elsewhere
    )::rowmill.finding
  end;
end;
$$;
comment on function rowmill.judge_answer(rowmill.probe) is 'What the answer to a ping, or its absence, says.';
revoke all on function rowmill.judge_answer(rowmill.probe) from public;

-- API: internal
create function rowmill.judge_probe(probe rowmill.probe)
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_why_not text := rowmill.why_no_post();
begin
  return case
    when v_why_not is not null then row('note', 'nothing is posted: ' || v_why_not, 'Workers fetch what nobody posts. See pg_net, endpoint and secret.')::rowmill.finding
    when (probe).newest_at is null then row('note', 'nothing could be posted', 'Call doctor() outside of a read-only transaction, with settings.post_rows as you want it.')::rowmill.finding
    when (probe).newest_state = 'queued' then row(
      'fault', format('posted %s, and still in pg_net''s queue', rowmill.ago((probe).newest_at)), 'See the check of pg_net''s worker.'
    )::rowmill.finding
    when (probe).newest_state = 'lost' then row(
      'warning', format('posted %s, and pg_net has neither the post nor an answer: a crash empties its tables. Another one was posted', rowmill.ago((probe).newest_at)),
      'Ask again in some seconds: select * from rowmill.doctor();'
    )::rowmill.finding
    when (probe).ping_id is null then row(
      'note', format('posted %s, and not answered yet', rowmill.ago((probe).newest_at)), 'Ask again in some seconds: select * from rowmill.doctor();'
    )::rowmill.finding
    else rowmill.judge_answer(probe)
  end;
end;
$$;
comment on function rowmill.judge_probe(rowmill.probe) is 'What became of a ping.';
revoke all on function rowmill.judge_probe(rowmill.probe) from public;

-- API: internal
create function rowmill.examine_small_post()
returns rowmill.finding
language sql
stable
set search_path = ''
as $$
  select f.* from rowmill.judge_probe(rowmill.probe_of(false)) as f;
$$;
comment on function rowmill.examine_small_post() is 'Whether a small post arrives at a worker.';
revoke all on function rowmill.examine_small_post() from public;

-- API: internal
create function rowmill.examine_large_post()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_finding rowmill.finding := rowmill.judge_probe(rowmill.probe_of(true));
begin
  if exists (select from rowmill.settings as s where not s.post_rows) then
    return row('ok', 'not needed: settings.post_rows is false, so that posts carry no rows', null)::rowmill.finding;
  end if;
  if v_finding.verdict = 'fault' then
    if not rowmill.has_arrived(rowmill.probe_of(false)) then
      v_finding.remedy := 'See the small post first.';
    else
      -- What travels late is fetched: nothing stands still.
      v_finding.verdict := 'warning';
      v_finding.found := 'small posts arrive, and one of 1 MB does not: ' || v_finding.found;
      v_finding.remedy := 'update rowmill.settings set post_rows = false;';
    end if;
  end if;
  return v_finding;
end;
$$;
comment on function rowmill.examine_large_post() is 'Whether a post of 1.1 MB arrives: some builds of pg_net, and some proxies, stall on large ones.';
revoke all on function rowmill.examine_large_post() from public;

-- API: internal
create function rowmill.examine_secret()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_again text := 'select rowmill.set_endpoint((select endpoint_url from rowmill.settings), ''whsec_…''); with the worker''s ROWMILL_INGEST_SECRET.';
  v_secret text;
  v_probe rowmill.probe;
  v_code text;
begin
  if exists (select from rowmill.settings as s where s.endpoint_url is null) then
    return row('note', 'not needed while nothing is posted', 'See the check of the endpoint.')::rowmill.finding;
  end if;
  if not rowmill.has_ingest_secret() then
    return row('fault', 'there is none, so that nothing is posted', v_again)::rowmill.finding;
  end if;
  begin
    v_secret := rowmill.ingest_secret();
  exception when others then
    return row('fault', 'it is in Vault and cannot be decrypted, as after a backup was restored elsewhere', v_again)::rowmill.finding;
  end;
  if not coalesce(rowmill.is_secret(v_secret), false) then
    return row('fault', 'it is not of the form whsec_ and base64 of at least 24 bytes', v_again)::rowmill.finding;
  end if;
  v_probe := rowmill.probe_of(false);
  v_code := rowmill.json_or_null(v_probe.content) -> 'error' ->> 'code';
  return case
    when rowmill.has_arrived(v_probe) then row('ok', 'the worker has the same', null)::rowmill.finding
    when v_probe.status_code = 401 and v_code = 'no_secret' then row(
      'fault', 'the worker has none, so that it takes no posts', 'Start the worker with ROWMILL_INGEST_SECRET, the secret that set_endpoint() was given.'
    )::rowmill.finding
    when v_probe.status_code = 401 and v_code = 'bad_signature' then row(
      'fault', 'the worker has another one', v_again
    )::rowmill.finding
    else row('note', 'well-formed; whether the worker has the same, a post that arrives will tell', 'See the small post.')::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_secret() is 'Whether the secret that signs posts is there, and the worker''s own. It is in no finding.';
revoke all on function rowmill.examine_secret() from public;

-- API: internal
create function rowmill.examine_clock()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_probe rowmill.probe := rowmill.probe_of(false);
  v_is_refused boolean := coalesce(rowmill.json_or_null(v_probe.content) -> 'error' ->> 'code' = 'bad_timestamp', false);
  v_seconds numeric;
begin
  if rowmill.has_arrived(v_probe) then
    v_seconds := extract(epoch from (rowmill.json_or_null(v_probe.content) ->> 'now')::timestamptz - v_probe.taken_at);
  elsif v_is_refused then
    v_seconds := extract(epoch from v_probe.server_date::timestamptz - v_probe.taken_at);
  else
    return row('note', 'the worker''s is not known until it answers a post', 'See the small post.')::rowmill.finding;
  end if;
  return case
    -- The date of the answer is a proxy's, where there is one: it need not show what the worker's clock does.
    when v_is_refused then row(
      'fault',
      case when abs(v_seconds) > 300
        then format('the worker''s clock is %s s %s the database''s, and it refuses every post', round(abs(v_seconds)), case when v_seconds < 0 then 'behind' else 'ahead of' end)
        else 'the worker''s clock is more than 5 minutes off the database''s, and it refuses every post'
      end,
      'Set both clocks by NTP.'
    )::rowmill.finding
    when abs(v_seconds) > 30 then row(
      'warning', format('the worker''s clock is %s s %s the database''s', round(abs(v_seconds)), case when v_seconds < 0 then 'behind' else 'ahead of' end),
      'Set both clocks by NTP. Beyond 5 minutes posts are refused.'
    )::rowmill.finding
    else row('ok', format('the worker''s differs from the database''s by %s s', round(abs(v_seconds))), null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_clock() is 'How far the worker''s clock is from the database''s, to about a second.';
revoke all on function rowmill.examine_clock() from public;
