-- API: worker
create or replace function rowmill.note_poll_problem(
  batch_id bigint,
  problem text,
  is_gone boolean -- the provider says that it knows no such batch
)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set
    problem = note_poll_problem.problem,
    gone_since = case when note_poll_problem.is_gone then coalesce(b.gone_since, now()) end,
    tries = b.tries + 1,
    -- Doubled for each look that failed, 10 minutes at most.
    poll_at = greatest(b.poll_at, now() + least(s.poll_every * power(2, least(b.tries, 10)), interval '10 minutes'))
  from rowmill.settings as s
  where b.id = note_poll_problem.batch_id and b.state = 'running';

  update rowmill.batch_processing_details as b
  set state = 'ended', provider_status = 'gone', ended_at = now()
  where b.id = note_poll_problem.batch_id and b.state = 'running'
  -- A batch runs for a day; before that is over, it could still be at work, and be asked for twice.
  and b.submitted_at < now() - interval '26 hours'
  and b.gone_since <= now() - interval '1 hour';
  return found;
end;
$$;
comment on function rowmill.note_poll_problem is
  'Why a look at a running batch failed; it stays running and is looked at again, later each time. '
  'One that the provider has not known for an hour, and whose day is over, ends without results: returns true then.';
revoke all on function rowmill.note_poll_problem from public;
