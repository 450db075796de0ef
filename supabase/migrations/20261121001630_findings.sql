-- What doctor() is made of: a finding, and the list of its checks. Workers need not stop.

create type rowmill.finding as (verdict text, found text, remedy text);
comment on type rowmill.finding is 'What a check found: ok, note, warning or fault; what there is, in words; what to do, null where it is ok.';

-- API: internal
create function rowmill.doctor_checks()
returns text[]
language sql
immutable
set search_path = ''
as $$
  select array[
    'migrations', 'workers', 'pg_net', 'pg_net worker', 'endpoint', 'small post', 'large post', 'secret', 'clock', 'cron',
    'grants', 'worker role', 'table rights', 'triggers', 'pipelines', 'provider', 'prices', 'batches', 'queue', 'leases'
  ];
$$;
comment on function rowmill.doctor_checks() is 'The checks of doctor(), in their order; each is a function rowmill.examine_<name>().';
revoke all on function rowmill.doctor_checks() from public;

-- API: internal
create function rowmill.json_or_null(content text)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return json_or_null.content::jsonb;
exception when others then
  return null;
end;
$$;
comment on function rowmill.json_or_null(text) is 'A text read as JSON; null where it is none.';
revoke all on function rowmill.json_or_null(text) from public;

-- API: internal
create function rowmill.ago(at timestamptz)
returns text
language sql
stable
set search_path = ''
as $$
  select case
    when d.seconds < 120 then format('%s s ago', greatest(round(d.seconds), 0))
    when d.seconds < 7200 then format('%s minutes ago', round(d.seconds / 60))
    when d.seconds < 172800 then format('%s hours ago', round(d.seconds / 3600))
    else format('%s days ago', round(d.seconds / 86400))
  end
  from (select extract(epoch from clock_timestamp() - ago.at) as seconds) as d;
$$;
comment on function rowmill.ago(timestamptz) is 'How long ago that was, in words.';
revoke all on function rowmill.ago(timestamptz) from public;

-- API: internal
create function rowmill.first_few(parts text[], separator text default '; ')
returns text
language sql
immutable
set search_path = ''
as $$
  select array_to_string(first_few.parts[1:5], first_few.separator)
    || case when cardinality(first_few.parts) > 5 then format('%sand %s more', first_few.separator, cardinality(first_few.parts) - 5) else '' end;
$$;
comment on function rowmill.first_few(text[], text) is 'The first five, and how many more there are.';
revoke all on function rowmill.first_few(text[], text) from public;
