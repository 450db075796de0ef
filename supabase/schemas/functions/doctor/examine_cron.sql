-- API: internal
create or replace function rowmill.examine_cron()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
  v_has_workers boolean := (rowmill.examine_workers()).verdict <> 'fault';
  v_jobid bigint;
  v_active boolean;
  v_schedule text;
  v_status text;
  v_message text;
  v_failed_at timestamptz;
  v_succeeded_at timestamptz;
begin
  if rowmill.may_read('cron.job') then
    execute format(
      'select j.jobid, j.active, j.schedule from %I.job as j where j.jobname = $1 or j.command ilike $2 order by (j.jobname = $1) is true desc, j.active desc limit 1', v_cron
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
    return row('note', format('scheduled (%s); its runs may not be read', v_schedule), format('grant select on cron.job_run_details to %I;', current_user))::rowmill.finding;
  end if;
  -- Only the newest runs: the table has no index by job, and grows.
  execute format(
    $sql$
    with runs as (
      select d.* from (select r.* from %I.job_run_details as r order by r.runid desc limit 1000) as d where d.jobid = $1
    )
    select
      (select d.status from runs as d where d.status in ('succeeded', 'failed') order by d.runid desc limit 1),
      (select d.return_message from runs as d where d.status = 'failed' order by d.runid desc limit 1),
      (select max(d.start_time) from runs as d where d.status = 'failed'),
      (select max(d.start_time) from runs as d where d.status = 'succeeded')
    $sql$, v_cron
  )
  into v_status, v_message, v_failed_at, v_succeeded_at
  using v_jobid;
  return case
    when v_status = 'failed' then row(
      'fault', format('its job failed %s: %s', rowmill.ago(v_failed_at), left(regexp_replace(coalesce(v_message, 'without a word'), '\s+', ' ', 'g'), 200)),
      format('Mend what it says; its runs: select * from cron.job_run_details where jobid = %s order by runid desc limit 5;', v_jobid)
    )::rowmill.finding
    when v_succeeded_at is null then row(
      'note', format('scheduled (%s); no run of it is known yet', v_schedule), 'Ask again in a minute. Should it stay so, look whether pg_cron''s own process runs, and at cron.log_run.'
    )::rowmill.finding
    when v_succeeded_at < now() - interval '10 minutes' then row(
      'warning', format('its job has not run since %s', rowmill.ago(v_succeeded_at)), 'Restart Postgres: pg_cron''s own process seems to be down.'
    )::rowmill.finding
    else row('ok', format('runs (%s), last %s', v_schedule, rowmill.ago(v_succeeded_at)), null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_cron is
  'Whether a job of pg_cron calls rowmill.tick(), and lately with success.';
revoke all on function rowmill.examine_cron from public;
