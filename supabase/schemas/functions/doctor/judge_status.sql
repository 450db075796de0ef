-- API: internal
create or replace function rowmill.judge_status(probe rowmill.probe, url text)
returns rowmill.finding
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_status integer := (judge_status.probe).status_code;
  v_elsewhere text := 'Correct the address: select rowmill.set_endpoint(''https://worker.example.com''); '
    'a worker takes posts at /v1/chunks.';
begin
  return case
    when v_status = 413 then row(
      'fault', format('%s, or a proxy before it, takes no body of that length (413)', judge_status.url),
      'Let the proxy take 8 MB, or post numbers without rows: update rowmill.settings set post_rows = false;'
    )::rowmill.finding
    when v_status = 422 then row(
      'warning', 'an older worker answers, which knows no pings', 'Bring the worker to the version of the migrations.'
    )::rowmill.finding
    when v_status in (502, 503, 504) then row(
      'fault', format('a proxy at %s answers that no worker is behind it (%s)', judge_status.url, v_status),
      'Start a worker, or correct the proxy.'
    )::rowmill.finding
    when v_status in (301, 302, 303, 404, 405) or coalesce((judge_status.probe).content_type, '') like 'text/html%' then row(
      'fault', format('something else than a worker answers at %s (%s)', judge_status.url, v_status), v_elsewhere
    )::rowmill.finding
    else row(
      'fault',
      format('%s answered %s instead of the ping: %s', judge_status.url, v_status,
        left(regexp_replace(coalesce((judge_status.probe).content, 'nothing'), '\s+', ' ', 'g'), 60)),
      v_elsewhere
    )::rowmill.finding
  end;
end;
$$;
comment on function rowmill.judge_status is
  'What an answer to a ping says that is neither the ping nor an error of a worker''s.';
revoke all on function rowmill.judge_status from public;
