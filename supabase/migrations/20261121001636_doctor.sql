-- Work that stands still, and doctor() itself. Workers need not stop.

-- API: internal
create function rowmill.examine_batches()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_found text[];
begin
  -- batches_open and batches_to_sweep serve each of these: what is over is not looked at.
  select array_agg(f.said order by f.place, f.id) into v_found
  from (
    select 1 as place, b.id, format('batch %s is being prepared since %s, longer than settings.adopt_after (%s)', b.id, rowmill.ago(b.created_at), s.adopt_after) as said
    from rowmill.batch_processing_details as b, rowmill.settings as s
    where b.state = 'preparing' and b.created_at < now() - s.adopt_after - interval '1 minute' and coalesce(b.lease_until, '-infinity') < now()
    union all
    select 2, b.id, format('batch %s was due for a look %s, more than ten times settings.poll_every (%s)', b.id, rowmill.ago(b.poll_at), s.poll_every)
    from rowmill.batch_processing_details as b, rowmill.settings as s
    where b.state = 'running' and b.poll_at < now() - greatest(s.poll_every * 10, interval '1 minute')
    union all
    select 3, b.id, format('batch %s runs since %s, and a batch has 24 hours', b.id, rowmill.ago(b.submitted_at))
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.submitted_at < now() - interval '25 hours'
    union all
    select 4, b.id, format('batch %s ended %s and its answers are not read%s', b.id, rowmill.ago(b.ended_at), coalesce(': ' || b.problem, ''))
    from rowmill.batch_processing_details as b
    where b.state = 'ended' and b.ended_at < now() - interval '10 minutes' and coalesce(b.lease_until, '-infinity') < now()
    union all
    select 5, b.id, format('batch %s ended %s and its files are not deleted%s', b.id, rowmill.ago(b.ended_at), coalesce(': ' || b.problem, ''))
    from rowmill.batch_processing_details as b
    where b.state = 'harvested' and b.ended_at < now() - interval '1 hour' and coalesce(b.lease_until, '-infinity') < now()
    union all
    select 6, b.id, format('what batch %s may have left at the provider was to be looked for %s', b.id, rowmill.ago(b.sweep_at))
    from rowmill.batch_processing_details as b
    where b.sweep_at < now() - interval '1 hour'
  ) as f;
  if v_found is null then
    return row('ok', 'none is stuck', null)::rowmill.finding;
  end if;
  return row('warning', rowmill.first_few(v_found), 'A worker that runs takes them on. Where one runs, its log says why not; cancel_batch(id) gives a running one up.')::rowmill.finding;
end;
$$;
comment on function rowmill.examine_batches() is
  'Batches in preparation beyond settings.adopt_after, ten times overdue for a look, running for 25 hours, ended and not read for 10 minutes, files not deleted for an hour.';
revoke all on function rowmill.examine_batches() from public;

-- API: internal
create function rowmill.examine_queue()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_found text[];
  v_waits text[];
begin
  -- One look into an index for each pipeline and kind, however much is queued.
  select
    array_agg(f.said order by f.at) filter (where f.reason is null and f.at < now() - f.patience),
    array_agg(f.reason order by f.at) filter (where f.reason is not null)
  into v_found, v_waits
  from (
    select c.formed_at as at, s.fetch_after + interval '5 minutes' as patience, format('"%s": ', p.name) || c.wait_reason as reason,
      format('the oldest chunk of "%s" was formed %s and no worker took it, though after %s any may', p.name, rowmill.ago(c.formed_at), s.fetch_after) as said
    from rowmill.pipelines as p
    cross join rowmill.settings as s
    cross join lateral (
      select c.formed_at, c.wait_reason from rowmill.chunks as c
      where c.pipeline_id = p.id and c.state in ('waiting', 'accepted') order by c.id limit 1
    ) as c
    where p.state = 'active'
    union all
    select k.queued_at, p.flush_after + interval '5 minutes', null,
      format('the oldest rows of "%s" were queued %s and are in no chunk, though they are grouped after %s', p.name, rowmill.ago(k.queued_at), p.flush_after)
    from rowmill.pipelines as p
    cross join lateral (
      select k.queued_at from rowmill.pending_keys as k
      where k.pipeline_id = p.id and k.queued_at <= now() order by k.id limit 1
    ) as k
    where p.state = 'active'
  ) as f;
  return case
    when v_found is not null then row('warning', rowmill.first_few(v_found), 'Start a worker, or another one. Where one runs, see pipelines and the worker''s log.')::rowmill.finding
    when v_waits is not null then row('note', 'rows wait for room: ' || rowmill.first_few(v_waits), 'They go on by themselves; select name, waiting_reason from rowmill.pipeline_status;')::rowmill.finding
    else row('ok', 'nothing waits for too long', null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_queue() is 'Chunks that wait for more than settings.fetch_after and 5 minutes, rows that wait for more than flush_after and 5 minutes.';
revoke all on function rowmill.examine_queue() from public;

-- API: internal
create function rowmill.examine_leases()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_chunks bigint;
  v_rows bigint;
  v_oldest timestamptz;
begin
  select count(*), sum(c.row_count), min(c.lease_until) into strict v_chunks, v_rows, v_oldest
  from rowmill.pipelines as p
  join rowmill.chunks as c on c.pipeline_id = p.id
  where c.state in ('waiting', 'accepted') and c.state = 'accepted' and c.lease_until < now() - interval '1 minute';
  if v_chunks = 0 then
    return row('ok', 'no dead worker holds rows', null)::rowmill.finding;
  end if;
  return row('warning', format('%s rows stand in %s chunks of workers that are gone, the first since %s', v_rows, v_chunks, rowmill.ago(v_oldest)), 'select rowmill.tick();')::rowmill.finding;
end;
$$;
comment on function rowmill.examine_leases() is 'Rows under leases that ran out a minute ago and were not released, which is the tick''s to do.';
revoke all on function rowmill.examine_leases() from public;

create type rowmill.diagnosis as ("check" text, verdict text, found text, remedy text);
comment on type rowmill.diagnosis is 'A line of doctor(): the check''s name, and its finding.';

-- API: worker
create function rowmill.doctor()
returns setof rowmill.diagnosis
language plpgsql
security definer -- neither an operator's dashboard nor the worker has rights on the tables
set search_path = ''
set lock_timeout = '500ms' -- a table that somebody has locked is a finding, not a wait
as $$
declare
  v_name text;
  v_verdict text;
  v_found text;
  v_remedy text;
begin
  begin
    perform rowmill.post_probes();
  exception when others then
    null; -- read-only, or a secret that is none: the checks say so
  end;
  foreach v_name in array rowmill.doctor_checks() loop
    begin
      execute format('select f.verdict, f.found, f.remedy from rowmill.examine_%s() as f', replace(v_name, ' ', '_'))
      into strict v_verdict, v_found, v_remedy;
    exception when others then
      v_verdict := 'fault';
      v_found := format('the check itself failed: %s (%s)', sqlerrm, sqlstate);
      v_remedy := 'Mend what it says, or run the newest migrations: npm run migrate';
    end;
    return next row(v_name, v_verdict, v_found, v_remedy)::rowmill.diagnosis;
  end loop;
end;
$$;
comment on function rowmill.doctor() is
  'Looks at everything that Rowmill needs; one row a check, always all of them: verdict ok, note, warning or fault, what was found, and what to do. Posts two signed pings, and judges those of a moment ago: ask again some seconds later. Never raises. docs/doctor.md explains each check.';
revoke all on function rowmill.doctor() from public;
