/**
 * Stands in for pg_net 0.20 where it is not installed: what its users see of it in SQL, with the same names, defaults,
 * checks, grants and unlogged tables. Nothing sends what is queued: `pg-net-deliverer.ts` does, where a test starts one.
 */
export const pgNetStub = `
create schema net;

create domain net.http_method as text check (upper(value) in ('GET', 'POST', 'DELETE'));
create type net.request_status as enum ('PENDING', 'SUCCESS', 'ERROR');
create type net.http_response as (status_code integer, headers jsonb, body text);
create type net.http_response_result as (status net.request_status, message text, response net.http_response);

-- No primary key, as in pg_net.
create unlogged table net.http_request_queue (
  id bigserial,
  method net.http_method not null,
  url text not null,
  headers jsonb,
  body bytea,
  timeout_milliseconds integer not null
);
create unlogged table net._http_response (
  id bigint,
  status_code integer,
  content_type text,
  headers jsonb,
  content text,
  timed_out boolean,
  error_msg text,
  created timestamptz not null default now()
);
create index on net._http_response (created);

-- pg_net's worker is a process of the server; the deliverer is a session that bears the same name.
create function net.check_worker_is_up() returns void language plpgsql as $$
begin
  perform from pg_stat_activity where application_name like 'pg_net %' and datname = current_database();
  if not found then
    raise exception 'the pg_net background worker is not up'
      using detail = 'Nothing delivers what is queued.', hint = 'Start a deliverer.';
  end if;
end;
$$;
-- The deliverer looks by itself.
create function net.wake() returns void language sql as 'select null::void';
create function net.worker_restart() returns boolean language sql as 'select true';
create function net.wait_until_running() returns void language plpgsql as $$
begin
  perform net.check_worker_is_up();
end;
$$;

create function net._urlencode_string(string varchar) returns text language sql immutable strict as $$
  select coalesce(string_agg(
    case when ascii(c.char) < 128 and c.char ~ '[A-Za-z0-9._~-]' then c.char
      else regexp_replace(upper(encode(convert_to(c.char, 'UTF8'), 'hex')), '(..)', '%\\1', 'g') end,
    '' order by c.place), '')
  from regexp_split_to_table(string, '') with ordinality as c(char, place)
  where c.char <> ''
$$;
create function net._encode_url_with_params_array(url text, params_array text[]) returns text language plpgsql immutable strict as $$
declare
  parts text[] := regexp_match(url, '^([A-Za-z][A-Za-z0-9+.-]*://[^/?#]+)([^?#]*)(\\?[^#]*)?(#.*)?$');
  query text := array_to_string(params_array, '&');
begin
  if parts is null then
    raise exception 'not a URL: %', url;
  end if;
  return parts[1] || coalesce(nullif(parts[2], ''), '/')
    || case
      when query = '' then coalesce(parts[3], '')
      when coalesce(parts[3], '') in ('', '?') then '?' || query
      else parts[3] || '&' || query
    end
    || coalesce(parts[4], '');
end;
$$;

-- What the three below have in common; pg_net has no such function.
create function net._queue(method text, url text, params jsonb, headers jsonb, body bytea, timeout_milliseconds integer)
returns bigint language plpgsql as $$
declare
  request_id bigint;
begin
  insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
  select _queue.method, net._encode_url_with_params_array(
    _queue.url, coalesce(array_agg(net._urlencode_string(p.key) || '=' || net._urlencode_string(p.value)), '{}')
  ), _queue.headers, _queue.body, _queue.timeout_milliseconds
  from jsonb_each_text(_queue.params) as p
  returning id into request_id;
  perform net.wake();
  return request_id;
end;
$$;
create function net.http_get(
  url text, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000
) returns bigint language sql as $$
  select net._queue('GET', url, params, headers, null, timeout_milliseconds)
$$;
create function net.http_post(
  url text,
  body jsonb default '{}',
  params jsonb default '{}',
  headers jsonb default '{"Content-Type": "application/json"}',
  timeout_milliseconds integer default 5000
) returns bigint language plpgsql as $$
declare
  type_given text := (
    select h.value from jsonb_each_text(http_post.headers) as h(name, value) where lower(h.name) = 'content-type' limit 1
  );
begin
  if type_given <> 'application/json' then
    raise exception 'Content-Type header must be "application/json"';
  end if;
  return net._queue(
    'POST', http_post.url, http_post.params,
    case when type_given is null then http_post.headers || '{"Content-Type": "application/json"}' else http_post.headers end,
    convert_to(http_post.body::text, 'UTF8'), http_post.timeout_milliseconds
  );
end;
$$;
create function net.http_delete(
  url text, params jsonb default '{}', headers jsonb default '{}', timeout_milliseconds integer default 5000, body jsonb default null
) returns bigint language sql as $$
  select net._queue('DELETE', url, params, headers, convert_to(body::text, 'UTF8'), timeout_milliseconds)
$$;

grant usage on schema net to public;
grant all on all tables in schema net to public;
grant all on all sequences in schema net to public;
`;
