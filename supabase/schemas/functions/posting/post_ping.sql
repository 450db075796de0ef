-- API: internal
create or replace function rowmill.post_ping(
  purpose text, -- doctor or ring
  fill_bytes integer default 0 -- makes the body longer by so much
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
  v_body jsonb;
  v_request_id bigint;
begin
  if not rowmill.can_post() then
    return null;
  end if;
  insert into rowmill.pings (purpose, aim)
  values (post_ping.purpose, rowmill.ping_aim())
  returning id into strict v_id;
  v_body := jsonb_build_object('ping', v_id, 'fill', repeat('x', post_ping.fill_bytes));
  v_request_id := rowmill.post_signed('ping_' || v_id, v_body);
  update rowmill.pings as p
  set request_id = v_request_id, bytes = octet_length(v_body::text)
  where p.id = v_id;
  delete from rowmill.pings as p where p.id <= v_id - 100;
  return v_id;
end;
$$;
comment on function rowmill.post_ping is
  'Has pg_net post a ping to the worker once this transaction commits, and returns its number in rowmill.pings; null where nothing '
  'can be posted. Raises where the secret is malformed or cannot be read.';
revoke all on function rowmill.post_ping from public;
