-- API: internal
create or replace function rowmill.judge_answer(probe rowmill.probe)
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
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
comment on function rowmill.judge_answer is
  'What the answer to a ping, or its absence, says.';
revoke all on function rowmill.judge_answer from public;
