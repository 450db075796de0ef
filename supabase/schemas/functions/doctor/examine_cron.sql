-- API: internal
create or replace function rowmill.examine_cron()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
  v_mistrust rowmill.finding := rowmill.judge_schema('cron', array['job', 'job_run_details', 'schedule', 'unschedule']);
  v_has_workers boolean := (rowmill.examine_workers()).verdict <> 'fault';
  v_jobid bigint;
  v_active boolean;
  v_schedule text;
begin
  if v_mistrust.verdict is not null then
    return v_mistrust;
  end if;
  if rowmill.may_read('cron.job') then
    execute format(
      $sql$
      select j.jobid, j.active, j.schedule
      from %I.job as j
      where j.jobname = $1 or j.command ilike $2
      order by (j.jobname = $1) is true desc, j.active desc
      limit 1
      $sql$, v_cron
    )
    into v_jobid, v_active, v_schedule
    using 'rowmill tick', '%rowmill.tick%';
  end if;
  if v_jobid is null then
    return row(
      case when v_has_workers then 'note' else 'warning' end,
      case when rowmill.may_read('cron.job') then 'pg_cron has no job that ticks' else 'pg_cron is not there' end
        || case when v_has_workers then ': workers tick' else ', and no worker ticks either' end,
      'select rowmill.schedule(); where pg_cron is installed'
    )::rowmill.finding;
  end if;
  if not v_active then
    return row('warning', 'its job is switched off', format('select cron.alter_job(%s, active => true);', v_jobid))::rowmill.finding;
  end if;
  if not rowmill.may_read('cron.job_run_details') then
    return row(
      'note', format('scheduled (%s); its runs may not be read', v_schedule),
      format('grant select on cron.job_run_details to %I;', current_user)
    )::rowmill.finding;
  end if;
  return rowmill.judge_cron_runs(v_jobid, v_schedule);
end;
$$;
comment on function rowmill.examine_cron is
  'Whether a job of pg_cron calls rowmill.tick(), and lately with success.';
revoke all on function rowmill.examine_cron from public;
