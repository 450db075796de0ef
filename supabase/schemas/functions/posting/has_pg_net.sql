-- API: internal
create or replace function rowmill.has_pg_net()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select rowmill.may_use('net.http_post', array['text', 'jsonb', 'jsonb', 'jsonb', 'integer']);
$$;
comment on function rowmill.has_pg_net is
  'Whether pg_net is there, in the form that Rowmill calls it, and open to whoever asks.';
revoke all on function rowmill.has_pg_net from public;
