-- API: internal
create or replace function rowmill.cron_jobs()
returns table (job_id bigint, job_name text, schedule text, command text, is_active boolean)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
begin
  if rowmill.cron_version() is null or not rowmill.may_read('cron.job') then
    return;
  end if;
  for job_id, job_name, schedule, command, is_active in
    execute format(
      $sql$
      select j.jobid, j.jobname::text, j.schedule, j.command, j.active
      from %I.job as j
      where j.database = current_database() and j.jobname in ($1, $2)
      $sql$, v_cron
    )
    using 'rowmill tick', 'rowmill tick: forget old runs'
  loop
    return next;
  end loop;
end;
$$;
comment on function rowmill.cron_jobs is
  'What rowmill.schedule() put into pg_cron, as whoever asks may see it; nothing where pg_cron is not here.';
revoke all on function rowmill.cron_jobs from public;
