-- API: worker
create or replace function rowmill.probes_under_way()
returns table (probes integer, now_ms double precision)
language sql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
  select
    (
      ((rowmill.probe_of(false)).newest_state is not distinct from 'open')::integer
      + ((rowmill.probe_of(true)).newest_state is not distinct from 'open')::integer
    ),
    extract(epoch from clock_timestamp())::double precision * 1000;
$$;
comment on function rowmill.probes_under_way is
  'How many of doctor()''s posts may yet be answered, and what time it is here, in milliseconds since 1970.';
revoke all on function rowmill.probes_under_way from public;
