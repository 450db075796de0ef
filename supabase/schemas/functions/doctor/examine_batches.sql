-- API: internal
create or replace function rowmill.examine_batches()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text[];
begin
  -- batches_open and batches_to_sweep serve each of these: what is over is not looked at.
  select array_agg(f.said order by f.place, f.id) into v_found
  from (
    select 1 as place, b.id,
      format('batch %s is being prepared since %s, longer than settings.adopt_after (%s)',
        b.id, rowmill.ago(b.created_at), s.adopt_after) as said
    from rowmill.batch_processing_details as b, rowmill.settings as s
    where b.state = 'preparing' and b.created_at < now() - s.adopt_after - interval '1 minute'
    and coalesce(b.lease_until, '-infinity') < now()
    union all
    select 2, b.id,
      format('batch %s was due for a look %s, more than ten times settings.poll_every (%s)',
        b.id, rowmill.ago(b.poll_at), s.poll_every)
    from rowmill.batch_processing_details as b, rowmill.settings as s
    where b.state = 'running' and b.poll_at < now() - greatest(s.poll_every * 10, interval '1 minute')
    union all
    select 3, b.id, format('batch %s runs since %s, and a batch has 24 hours', b.id, rowmill.ago(b.submitted_at))
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.submitted_at < now() - interval '25 hours'
    union all
    select 4, b.id,
      format('batch %s ended %s and its answers are not read%s',
        b.id, rowmill.ago(b.ended_at), coalesce(': ' || b.problem, ''))
    from rowmill.batch_processing_details as b
    where b.state = 'ended' and b.ended_at < now() - interval '10 minutes' and coalesce(b.lease_until, '-infinity') < now()
    union all
    select 5, b.id,
      format('batch %s ended %s and its files are not deleted%s',
        b.id, rowmill.ago(b.ended_at), coalesce(': ' || b.problem, ''))
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
  return row(
    'warning', rowmill.first_few(v_found),
    'A worker that runs takes them on. Where one runs, its log says why not; cancel_batch(id) gives a running one up.'
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_batches is
  'Batches in preparation beyond settings.adopt_after, ten times overdue for a look, running for 25 hours, ended and not read for '
  '10 minutes, files not deleted for an hour.';
revoke all on function rowmill.examine_batches from public;
