-- API: internal
create or replace function rowmill.judge_cron_runs(jobid bigint, schedule text)
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
  v_status text;
  v_message text;
  v_failed_at timestamptz;
  v_succeeded_at timestamptz;
begin
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
  using judge_cron_runs.jobid;
  return case
    when v_status = 'failed' then row(
      'fault',
      format('its job failed %s: %s',
        rowmill.ago(v_failed_at), left(regexp_replace(coalesce(v_message, 'without a word'), '\s+', ' ', 'g'), 200)),
      format('Mend what it says; its runs: select * from cron.job_run_details where jobid = %s order by runid desc limit 5;',
        judge_cron_runs.jobid)
    )::rowmill.finding
    when v_succeeded_at is null then row(
      'note', format('scheduled (%s); no run of it is known yet', judge_cron_runs.schedule),
      'Ask again in a minute. Should it stay so, look whether pg_cron''s own process runs, and at cron.log_run.'
    )::rowmill.finding
    when v_succeeded_at < now() - interval '10 minutes' then row(
      'warning', format('its job has not run since %s', rowmill.ago(v_succeeded_at)),
      'Restart Postgres: pg_cron''s own process seems to be down.'
    )::rowmill.finding
    else row('ok', format('runs (%s), last %s', judge_cron_runs.schedule, rowmill.ago(v_succeeded_at)), null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.judge_cron_runs is
  'How the last runs of the job of pg_cron went that ticks. For callers that have asked may_read(''cron.job_run_details'').';
revoke all on function rowmill.judge_cron_runs from public;
