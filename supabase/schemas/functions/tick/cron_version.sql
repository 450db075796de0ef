-- API: internal
create or replace function rowmill.cron_version()
returns numeric
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select substring(e.extversion from '^\d+\.\d+')::numeric
  from pg_extension as e
  where e.extname = 'pg_cron'
  and rowmill.may_use('cron.schedule', array['text', 'text', 'text'])
  and rowmill.may_use('cron.unschedule', array['bigint']);
$$;
comment on function rowmill.cron_version is
  'The version of pg_cron, e.g. 1.6; null where it is not in this database or closed to whoever asks. Its versions have had one '
  'digit after the point so far.';
revoke all on function rowmill.cron_version from public;
