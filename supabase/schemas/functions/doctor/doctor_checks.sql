-- API: internal
create or replace function rowmill.doctor_checks()
returns text[]
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select array[
    'migrations', 'workers', 'pg_net', 'pg_net worker', 'endpoint', 'small post', 'large post', 'secret', 'clock', 'cron',
    'grants', 'worker role', 'table rights', 'triggers', 'pipelines', 'provider', 'prices', 'batches', 'queue', 'leases'
  ];
$$;
comment on function rowmill.doctor_checks is
  'The checks of doctor(), in their order; each is a function rowmill.examine_<name>().';
revoke all on function rowmill.doctor_checks from public;
