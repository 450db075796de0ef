-- API: public
create or replace function rowmill.unschedule()
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
  v_job record;
  v_count integer := 0;
begin
  for v_job in select j.job_id from rowmill.cron_jobs() as j loop
    execute format('select %I.unschedule($1::bigint)', v_cron) using v_job.job_id;
    v_count := v_count + 1;
  end loop;
  return case when v_count = 0 then 'pg_cron had nothing of Rowmill''s' else 'pg_cron ticks no more; workers do' end;
end;
$$;
comment on function rowmill.unschedule is
  'Takes back what rowmill.schedule() put into pg_cron; returns what it found. Harmless to repeat.';
revoke all on function rowmill.unschedule from public;
