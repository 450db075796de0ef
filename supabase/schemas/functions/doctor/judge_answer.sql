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
begin
  select rowmill.shown_url(s.endpoint_url), s.post_timeout_ms
  into strict v_url, v_timeout
  from rowmill.settings as s;
  return case
    when (judge_answer.probe).timed_out then row(
      'fault', format('no answer from %s within %s ms', v_url, v_timeout),
      'Make the worker reachable from the database''s network: firewall, address, port. '
      'A slow one: update rowmill.settings set post_timeout_ms = 30000;'
    )::rowmill.finding
    when (judge_answer.probe).error_msg is not null then row(
      'fault', format('%s was not reached: %s', v_url, (judge_answer.probe).error_msg),
      'Start a worker there (HOST=0.0.0.0 where others reach it), or correct the address: '
      'select rowmill.set_endpoint(''https://worker.example.com'');'
    )::rowmill.finding
    when rowmill.has_arrived(judge_answer.probe) then row(
      'ok',
      format('a worker answered; pg_net took the post up after %s ms', greatest(0, round(
        extract(epoch from (judge_answer.probe).taken_at - (judge_answer.probe).sent_at) * 1000
      ))),
      null
    )::rowmill.finding
    else coalesce(
      rowmill.judge_refusal(rowmill.json_or_null((judge_answer.probe).content) -> 'error'),
      rowmill.judge_status(judge_answer.probe, v_url)
    )
  end;
end;
$$;
comment on function rowmill.judge_answer is
  'What the answer to a ping, or its absence, says.';
revoke all on function rowmill.judge_answer from public;
