-- API: public
create or replace function rowmill.schedule(
  every interval default '10 seconds' -- whole seconds below a minute, or whole minutes below an hour
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
  v_version numeric := rowmill.cron_version();
  v_seconds numeric := extract(epoch from every);
  v_schedule text;
  v_command text := 'select rowmill.tick()';
  v_job_id bigint;
begin
  if v_version is null then
    raise exception using errcode = 'RM116', message = 'pg_cron is not in this database, or not open to this role',
      detail = format('This is database "%s", role "%s".', current_database(), current_user),
      hint = 'On Supabase: Integrations, Cron. Elsewhere: shared_preload_libraries = ''pg_cron'', '
        'cron.database_name = this database, create extension pg_cron. Workers tick without it.';
  end if;
  v_schedule := case
    when v_seconds is null or v_seconds <= 0 or v_seconds <> trunc(v_seconds) then null
    when v_seconds < 60 and v_version >= 1.5 then v_seconds::integer || ' seconds'
    when v_seconds <= 60 then '* * * * *'
    when v_seconds % 60 = 0 and v_seconds < 3600 then format('*/%s * * * *', (v_seconds / 60)::integer)
  end;
  if v_schedule is null then
    raise exception using errcode = 'RM109', message = 'pg_cron cannot tick at this interval',
      detail = format('every is %L.', every),
      hint = 'Give whole seconds below a minute or whole minutes below an hour: select rowmill.schedule(''10 seconds'');';
  end if;
  if v_seconds < 60 and v_version < 1.5 then
    -- It knows no seconds: one run a minute ticks several times, each time in a transaction of its own.
    v_command := format(
      'do $tick$ declare v_start timestamptz := clock_timestamp(); begin for v_at in 0 .. 59 by %s loop '
      'perform pg_sleep_until(v_start + v_at * interval ''1 second''); perform rowmill.tick(); commit; end loop; end $tick$',
      v_seconds::integer
    );
  end if;
  execute format('select %I.schedule($1, $2, $3)', v_cron) into strict v_job_id using 'rowmill tick', v_schedule, v_command;
  -- pg_cron notes every run and forgets none: 8,640 rows a day.
  execute format('select %I.schedule($1, $2, $3)', v_cron)
  using
    'rowmill tick: forget old runs',
    '17 3 * * *',
    format('delete from cron.job_run_details where jobid = %s and end_time < now() - interval ''7 days''', v_job_id);
  return format('rowmill.tick() runs every %s (pg_cron job %s)', every, v_job_id);
end;
$$;
comment on function rowmill.schedule is
  'Lets pg_cron call rowmill.tick(), so that chunks are formed and posted while no worker runs; returns what was set up. Repeating '
  'it changes the interval. Raises RM116 without pg_cron, RM109 for an interval that it cannot do. A pg_cron older than 1.5 ticks '
  'within a run of a minute.';
revoke all on function rowmill.schedule from public;
