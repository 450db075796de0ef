-- API: internal
create or replace function rowmill.has_pg_net()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- pg_net lets every role put triggers on its queue, and they run with the rights of the role that posts.
  select rowmill.may_use('net.http_post', array['text', 'jsonb', 'jsonb', 'jsonb', 'integer'])
  and not rowmill.has_untrusted_trigger('net.http_request_queue');
$$;
comment on function rowmill.has_pg_net is
  'Whether pg_net is there, in the form that Rowmill calls it, trusted, and open to the caller.';
revoke all on function rowmill.has_pg_net from public;
