-- API: internal
create or replace function rowmill.ago(at timestamptz)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when d.seconds < 120 then format('%s s ago', greatest(round(d.seconds), 0))
    when d.seconds < 7200 then format('%s minutes ago', round(d.seconds / 60))
    when d.seconds < 172800 then format('%s hours ago', round(d.seconds / 3600))
    else format('%s days ago', round(d.seconds / 86400))
  end
  from (select extract(epoch from clock_timestamp() - ago.at) as seconds) as d;
$$;
comment on function rowmill.ago is
  'How long ago that was, in words.';
revoke all on function rowmill.ago from public;
