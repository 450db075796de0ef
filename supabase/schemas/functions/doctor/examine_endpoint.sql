-- API: internal
create or replace function rowmill.examine_endpoint()
returns rowmill.finding
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when s.endpoint_url is null then row(
      'note', 'not set: chunks are not posted, workers fetch them',
      'select rowmill.set_endpoint(''https://worker.example.com'', ''whsec_…'');'
    )::rowmill.finding
    when u.bare ~ '^http://'
    and u.bare !~ '^http://(localhost|127\.|10\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|\[|[^./:]+([:/]|$))' then row(
      'warning', 'rows travel unencrypted: ' || u.url,
      'Put TLS before the worker: select rowmill.set_endpoint(''https://worker.example.com'');'
    )::rowmill.finding
    else row('ok', u.url, null)::rowmill.finding
  end
  from rowmill.settings as s
  cross join lateral (
    select
      rowmill.shown_url(s.endpoint_url) as url,
      regexp_replace(s.endpoint_url, '//[^/@]*@', '//') as bare
  ) as u;
$$;
comment on function rowmill.examine_endpoint is
  'Where chunks are posted.';
revoke all on function rowmill.examine_endpoint from public;
