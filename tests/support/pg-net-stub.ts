/**
 * Stands in for pg_net where it is not installed: the signature, defaults and content-type check of
 * `net.http_post` in 0.20, and its unlogged queue. Nothing sends what is queued.
 */
export const pgNetStub = `
create schema net;
create unlogged table net.http_request_queue (
  id bigserial primary key,
  method text not null,
  url text not null,
  headers jsonb,
  body bytea,
  timeout_milliseconds integer not null
);
create function net.http_post(
  url text,
  body jsonb default '{}'::jsonb,
  params jsonb default '{}'::jsonb,
  headers jsonb default '{"Content-Type": "application/json"}'::jsonb,
  timeout_milliseconds integer default 5000
)
returns bigint
language plpgsql
as $$
declare
  request_id bigint;
begin
  if not exists (
    select from jsonb_each_text(http_post.headers) as h(name, value)
    where lower(h.name) = 'content-type' and h.value = 'application/json'
  ) then
    raise exception 'Content-Type header must be "application/json"';
  end if;
  insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
  values ('POST', http_post.url, http_post.headers, convert_to(http_post.body::text, 'UTF8'), http_post.timeout_milliseconds)
  returning id into request_id;
  return request_id;
end;
$$;
`;
