-- API: internal
create or replace function rowmill.why_no_post()
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when not exists (select from rowmill.settings as s where s.endpoint_url is not null) then 'no endpoint is set'
    when not rowmill.has_pg_net() then 'pg_net is not there to post with'
    when not rowmill.has_ingest_secret() then 'there is no secret to sign with'
    when rowmill.ping_aim() is null then 'the secret cannot be used'
    when not rowmill.may_read('net._http_response') then 'net._http_response may not be read'
  end;
$$;
comment on function rowmill.why_no_post is
  'Why doctor() can post nothing and see no answer; null where it can.';
revoke all on function rowmill.why_no_post from public;
