-- API: internal
create or replace function rowmill.has_arrived(probe rowmill.probe)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((has_arrived.probe).status_code = 200
    and rowmill.json_or_null((has_arrived.probe).content) ->> 'ping' = (has_arrived.probe).ping_id::text, false);
$$;
comment on function rowmill.has_arrived is
  'Whether a worker answered the ping.';
revoke all on function rowmill.has_arrived from public;
