-- API: internal
create or replace function rowmill.probe_of(is_large boolean)
returns rowmill.probe
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_aim text := rowmill.ping_aim();
  v_ping rowmill.pings;
  v_answer rowmill.probe;
  v_newest_at timestamptz;
  v_newest_state text;
begin
  if v_aim is null or not rowmill.may_read('net._http_response') then
    return null;
  end if;
  for v_ping in
    select p.*
    from rowmill.pings as p
    where p.purpose = 'doctor' and p.aim = v_aim and p.request_id is not null
    and (p.bytes > 100000) = probe_of.is_large
    and p.sent_at > now() - interval '10 minutes'
    order by p.id desc
  loop
    v_answer := rowmill.answer_to(v_ping);
    if v_newest_at is null then
      v_newest_at := v_ping.sent_at;
      v_newest_state := case when v_answer.ping_id is null then rowmill.unanswered_state(v_ping) else 'answered' end;
    end if;
    exit when v_answer.ping_id is not null;
  end loop;
  v_answer.newest_at := v_newest_at;
  v_answer.newest_state := v_newest_state;
  return v_answer;
end;
$$;
comment on function rowmill.probe_of is
  'What became of the small or the large pings of the last ten minutes that went to today''s endpoint under today''s secret.';
revoke all on function rowmill.probe_of from public;
