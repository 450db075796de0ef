-- Signed posts that carry no work: they wake a worker, and tell whether posts arrive. Workers must not be older than
-- the first ping: an older one refuses it with 422.

create table rowmill.pings (
  id bigint generated always as identity primary key,
  request_id bigint,
  bytes integer,
  purpose text not null,
  aim text,
  sent_at timestamptz not null default clock_timestamp(),
  constraint pings_purpose_is_known check (purpose in ('doctor', 'ring')),
  constraint pings_bytes_once_posted check ((request_id is null) = (bytes is null))
);
alter table rowmill.pings enable row level security;
create policy pings_are_for_nobody on rowmill.pings using (false) with check (false);
comment on table rowmill.pings is 'The last hundred pings, with pg_net''s numbers for them. Their owner alone sees them.';
comment on column rowmill.pings.request_id is 'The id in net._http_response, once there is an answer. After a crash pg_net may count from 1 again: times tell them apart.';
comment on column rowmill.pings.bytes is 'How long the body was.';
comment on column rowmill.pings.purpose is 'doctor: to look at the answer; ring: to wake a worker that was scaled to zero.';
comment on column rowmill.pings.aim is 'Where it went and under which secret, as rowmill.ping_aim() had it: an answer from elsewhere says nothing about here.';

-- API: internal
create function rowmill.ping_aim()
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select left(encode(rowmill.hmac_sha256(
      convert_to(coalesce(s.endpoint_url, ''), 'UTF8'), decode(substr(rowmill.ingest_secret(), 7), 'base64')
    ), 'hex'), 8)
    from rowmill.settings as s
  );
exception when others then
  return null; -- a secret that cannot be read signs no ping either
end;
$$;
comment on function rowmill.ping_aim() is
  'Eight digits that change with the endpoint and with the secret, and tell nothing of it: the start of an HMAC. null where the secret is none. Raises nothing.';
revoke all on function rowmill.ping_aim() from public;

-- API: internal
create function rowmill.post_ping(
  purpose text, -- doctor or ring
  fill_bytes integer default 0 -- makes the body longer by so much
)
returns bigint
language plpgsql
set search_path = ''
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
comment on function rowmill.post_ping(text, integer) is
  'Has pg_net post a ping to the worker once this transaction commits, and returns its number in rowmill.pings; null where nothing can be posted. Raises where the secret is malformed or cannot be read.';
revoke all on function rowmill.post_ping(text, integer) from public;
