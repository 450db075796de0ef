-- API: internal
create or replace function rowmill.answer_to(ping rowmill.pings)
returns rowmill.probe
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_net text := 'net';
  v_headers jsonb;
  v_probe rowmill.probe;
begin
  -- By time first: there is no index on the id, and after a crash another request may have the same one.
  execute format(
    $sql$
    select r.created, r.status_code, r.timed_out, r.error_msg, r.content, r.content_type, r.headers
    from %I._http_response as r
    where r.created between $1 - interval '5 seconds' and $1 + interval '10 minutes' and r.id = $2
    limit 1
    $sql$, v_net
  )
  into v_probe.taken_at, v_probe.status_code, v_probe.timed_out, v_probe.error_msg, v_probe.content, v_probe.content_type, v_headers
  using (answer_to.ping).sent_at, (answer_to.ping).request_id;
  -- Another's answer, where it names another ping or a chunk.
  if v_probe.taken_at is null or v_probe.status_code between 200 and 299 and coalesce(
    rowmill.json_or_null(v_probe.content) ? 'chunk_id'
    or rowmill.json_or_null(v_probe.content) ->> 'ping' <> (answer_to.ping).id::text,
    false
  ) then
    return null;
  end if;
  v_probe.ping_id := (answer_to.ping).id;
  v_probe.sent_at := (answer_to.ping).sent_at;
  select h.value into v_probe.server_date from jsonb_each_text(v_headers) as h where lower(h.key) = 'date' limit 1;
  return v_probe;
end;
$$;
comment on function rowmill.answer_to is
  'The answer to a ping; nulls where there is none. For callers that have asked may_read(''net._http_response'').';
revoke all on function rowmill.answer_to from public;
