-- API: internal
create or replace function rowmill.examine_clock()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_probe rowmill.probe := rowmill.probe_of(false);
  v_is_refused boolean := coalesce(rowmill.json_or_null(v_probe.content) -> 'error' ->> 'code' = 'bad_timestamp', false);
  v_seconds numeric;
  v_difference text;
begin
  if rowmill.has_arrived(v_probe) then
    v_seconds := extract(epoch from (rowmill.json_or_null(v_probe.content) ->> 'now')::timestamptz - v_probe.taken_at);
  elsif v_is_refused then
    v_seconds := extract(epoch from v_probe.server_date::timestamptz - v_probe.taken_at);
  else
    return row('note', 'the worker''s is not known until it answers a post', 'See the small post.')::rowmill.finding;
  end if;
  v_difference := format('the worker''s clock is %s s %s the database''s',
    round(abs(v_seconds)), case when v_seconds < 0 then 'behind' else 'ahead of' end);
  return case
    -- The date of the answer is a proxy's, where there is one: it need not show what the worker's clock does.
    when v_is_refused then row(
      'fault',
      case when abs(v_seconds) > 300
        then v_difference || ', and it refuses every post'
        else 'the worker''s clock is more than 5 minutes off the database''s, and it refuses every post'
      end,
      'Set both clocks by NTP.'
    )::rowmill.finding
    when abs(v_seconds) > 30 then row(
      'warning', v_difference, 'Set both clocks by NTP. Beyond 5 minutes posts are refused.'
    )::rowmill.finding
    else row('ok', format('the worker''s differs from the database''s by %s s', round(abs(v_seconds))), null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_clock is
  'How far the worker''s clock is from the database''s, to about a second.';
revoke all on function rowmill.examine_clock from public;
