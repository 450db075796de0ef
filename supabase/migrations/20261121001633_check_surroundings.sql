-- What Rowmill stands on: migrations, workers, pg_net, pg_cron. Workers need not stop.

-- API: internal
create function rowmill.examine_migrations()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_versions text[];
begin
  if not rowmill.may_read('supabase_migrations.schema_migrations') then
    return row('warning', 'no list tells which are applied', 'npm run migrate')::rowmill.finding;
  end if;
  select array_agg(v.version order by v.version) into v_versions from rowmill.migration_versions() as v(version);
  if not coalesce('20261121001636' = any (v_versions), false) then
    return row('fault', format('the list lacks the one that made this function; its last is %s', coalesce(v_versions[cardinality(v_versions)], 'none')), 'npm run migrate')::rowmill.finding;
  end if;
  return row('ok', format('%s are applied, the last is %s', cardinality(v_versions), v_versions[cardinality(v_versions)]), null)::rowmill.finding;
end;
$$;
comment on function rowmill.examine_migrations() is 'Which migrations are applied. Which there are, npm run doctor knows.';
revoke all on function rowmill.examine_migrations() from public;

-- API: internal
create function rowmill.examine_workers()
returns rowmill.finding
language sql
stable
set search_path = ''
as $$
  select case
    when w.alive = 0 then row(
      'fault', case when w.seen_at is null then 'none was seen within a day' else format('none; the last was seen %s', rowmill.ago(w.seen_at)) end,
      'Start one: npm start, with DATABASE_URL and OPENAI_API_KEY.'
    )::rowmill.finding
    when cardinality(w.versions) > 1 then row(
      'note', format('%s, of versions %s', w.alive, array_to_string(w.versions, ', ')), 'Bring all workers to one version.'
    )::rowmill.finding
    else row('ok', format('%s of version %s, seen %s', w.alive, w.versions[1], rowmill.ago(w.seen_at)), null)::rowmill.finding
  end
  from (
    select
      count(*) filter (where r.seen_at > now() - s.lease) as alive,
      max(r.seen_at) as seen_at,
      array_agg(distinct r.version) filter (where r.seen_at > now() - s.lease) as versions
    from rowmill.settings as s
    left join rowmill.workers as r on true
  ) as w;
$$;
comment on function rowmill.examine_workers() is 'Whether a worker was seen within settings.lease, and of which versions they are.';
revoke all on function rowmill.examine_workers() from public;

-- API: internal
create function rowmill.examine_pg_net()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_version text := (select e.extversion from pg_extension as e where e.extname = 'pg_net');
  v_arguments text;
begin
  if rowmill.has_pg_net() then
    if rowmill.may_read('net._http_response') then
      return row('ok', coalesce('version ' || v_version, 'there'), null)::rowmill.finding;
    end if;
    return row('note', 'there, and its table of answers may not be read', format('grant select on net._http_response to %I;', current_user))::rowmill.finding;
  end if;
  select string_agg(p.oid::regprocedure::text, ', ') into v_arguments
  from pg_proc as p
  join pg_namespace as n on n.oid = p.pronamespace
  where n.nspname = 'net' and p.proname = 'http_post';
  if v_arguments is not null then
    return row('warning', format('there, and closed to %s or of another form: %s', current_user, v_arguments), format('grant usage on schema net to %I; or update the extension.', current_user))::rowmill.finding;
  end if;
  return row(
    'note', 'not installed: chunks are not posted, workers fetch them',
    case when exists (select from pg_available_extensions as e where e.name = 'pg_net') then 'create extension pg_net;' else 'Nothing needs it. In Supabase: Database, Extensions, pg_net.' end
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_pg_net() is 'Whether pg_net is installed, of the form that is known, and open to Rowmill''s owner.';
revoke all on function rowmill.examine_pg_net() from public;

-- API: internal
create function rowmill.examine_pg_net_worker()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_net text := 'net';
  v_database text := nullif(current_setting('pg_net.database_name', true), '');
  v_is_up boolean;
begin
  if not rowmill.has_pg_net() then
    return row('note', 'not needed without pg_net', 'See pg_net.')::rowmill.finding;
  end if;
  if v_database <> current_database() then
    return row('fault', format('it serves database %I and no other', v_database),
      format('In postgresql.conf: pg_net.database_name = %L, then restart Postgres; or install Rowmill in %I.', current_database(), v_database))::rowmill.finding;
  end if;
  if not pg_has_role(current_user, 'pg_read_all_stats', 'usage') then
    return row('note', format('not known: %s may not see processes of others', current_user), format('grant pg_monitor to %I;', current_user))::rowmill.finding;
  end if;
  if exists (
    select from pg_proc as p
    where p.pronamespace = (select n.oid from pg_namespace as n where n.nspname = 'net')
    and p.proname = 'check_worker_is_up' and p.pronargs = 0 and has_function_privilege(p.oid, 'execute')
  ) then
    begin
      execute format('select %I.check_worker_is_up()', v_net);
      v_is_up := true;
    exception when others then
      v_is_up := false;
    end;
  else
    v_is_up := exists (select from pg_stat_activity as a where a.backend_type ilike '%pg_net%');
  end if;
  if v_is_up then
    return row('ok', 'up', null)::rowmill.finding;
  end if;
  return row('fault', 'down: what is posted stays in the queue', 'Put pg_net into shared_preload_libraries and restart Postgres (in Supabase: restart the project).')::rowmill.finding;
end;
$$;
comment on function rowmill.examine_pg_net_worker() is 'Whether pg_net''s own worker runs, and serves this database.';
revoke all on function rowmill.examine_pg_net_worker() from public;

-- API: internal
create function rowmill.examine_endpoint()
returns rowmill.finding
language sql
stable
set search_path = ''
as $$
  select case
    when s.endpoint_url is null then row(
      'note', 'not set: chunks are not posted, workers fetch them', 'select rowmill.set_endpoint(''https://worker.example.com'', ''whsec_…'');'
    )::rowmill.finding
    when u.bare ~ '^http://' and u.bare !~ '^http://(localhost|127\.|10\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|\[|[^./:]+([:/]|$))' then row(
      'warning', 'rows travel unencrypted: ' || u.url, 'Put TLS before the worker: select rowmill.set_endpoint(''https://worker.example.com'');'
    )::rowmill.finding
    else row('ok', u.url, null)::rowmill.finding
  end
  from rowmill.settings as s
  cross join lateral (
    select
      rowmill.shown_url(s.endpoint_url) as url,
      regexp_replace(s.endpoint_url, '//[^/@]*@', '//') as bare
  ) as u;
$$;
comment on function rowmill.examine_endpoint() is 'Where chunks are posted.';
revoke all on function rowmill.examine_endpoint() from public;

-- API: internal
create function rowmill.examine_cron()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
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
comment on function rowmill.examine_cron() is 'Whether a job of pg_cron calls rowmill.tick(), and lately with success.';
revoke all on function rowmill.examine_cron() from public;
