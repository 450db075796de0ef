-- API: internal
create or replace function rowmill.can_post()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from rowmill.settings as s where s.endpoint_url is not null)
  and rowmill.has_pg_net()
  and rowmill.has_ingest_secret();
$$;
comment on function rowmill.can_post is
  'Whether an endpoint and a secret are set and pg_net is there to post with.';
revoke all on function rowmill.can_post from public;
