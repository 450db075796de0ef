-- Looking at running batches, and taking those that have ended.
-- Every step is guarded by the state that it leaves and by the owner; a step that finds neither changes nothing
-- and says so. Workers need not stop.

-- API: worker
create function rowmill.claim_due_polls(max_batches integer)
returns table (batch_id bigint, provider_batch_id text, cancel_asked boolean)
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.poll_at <= now()
    order by b.poll_at
    limit claim_due_polls.max_batches
    for update skip locked
  )
  update rowmill.batch_processing_details as b
  -- a tenth either way, so that batches of one import are not all asked for at once
  set poll_at = now() + s.poll_every * (0.9 + random() * 0.2)
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.provider_batch_id, b.cancel_asked;
$$;
comment on function rowmill.claim_due_polls(integer) is 'Running batches that are due for a look; each is due again after settings.poll_every.';
revoke all on function rowmill.claim_due_polls(integer) from public;

-- API: worker
create function rowmill.record_poll(
  batch_id bigint,
  provider_status text,
  is_terminal boolean,
  output_file_id text,
  error_file_id text,
  requests_completed integer,
  requests_failed integer,
  provider_errors jsonb
)
returns text
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_state text;
begin
  update rowmill.batch_processing_details as b
  set
    provider_status = record_poll.provider_status,
    output_file_id = record_poll.output_file_id,
    error_file_id = record_poll.error_file_id,
    requests_completed = record_poll.requests_completed,
    requests_failed = record_poll.requests_failed,
    provider_errors = record_poll.provider_errors,
    polled_at = now(),
    problem = null,
    state = case
      when not record_poll.is_terminal then b.state
      when p.state = 'dropped' then 'harvested' -- nobody waits for the answers; only files are left to delete
      else 'ended'
    end,
    ended_at = case when record_poll.is_terminal then now() end
  from rowmill.pipelines as p
  where b.id = record_poll.batch_id and b.state = 'running' and p.id = b.pipeline_id
  returning b.state into v_state;
  return v_state;
end;
$$;
comment on function rowmill.record_poll(bigint, text, boolean, text, text, integer, integer, jsonb) is
  'What the provider said of a running batch; in a terminal status it moves on to ended. Returns the new state, null where another worker moved it first.';
revoke all on function rowmill.record_poll(bigint, text, boolean, text, text, integer, integer, jsonb) from public;

-- API: worker
create function rowmill.note_poll_problem(batch_id bigint, problem text)
returns void
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  update rowmill.batch_processing_details as b
  set problem = note_poll_problem.problem
  where b.id = note_poll_problem.batch_id and b.state = 'running';
$$;
comment on function rowmill.note_poll_problem(bigint, text) is 'Why a look at a running batch failed; it stays running and is looked at again.';
revoke all on function rowmill.note_poll_problem(bigint, text) from public;

-- API: worker
create function rowmill.claim_ended_batches(worker text, max_batches integer)
returns table (
  batch_id bigint, state text, pipeline_id bigint, provider_status text, provider_errors jsonb,
  input_file_id text, output_file_id text, error_file_id text, output_position bigint, error_position bigint, keep_files boolean
)
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    join rowmill.pipelines as p on p.id = b.pipeline_id
    where b.state in ('ended', 'harvested')
    and (b.lease_until is null or b.lease_until < now())
    -- Answers for a column that is gone wait for the operator; where the whole table is gone, nobody waits.
    and (
      b.state = 'harvested'
      or rowmill.structure_problem(p.id) is null
      or not exists (select from pg_class as c where c.oid = p.source)
    )
    order by b.ended_at
    limit claim_ended_batches.max_batches
    for update of b skip locked
  )
  update rowmill.batch_processing_details as b
  set owner = claim_ended_batches.worker, lease_until = now() + s.lease
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.state, b.pipeline_id, b.provider_status, b.provider_errors,
    b.input_file_id, b.output_file_id, b.error_file_id, b.output_position, b.error_position, s.keep_files;
$$;
comment on function rowmill.claim_ended_batches(text, integer) is 'Takes, under a lease, batches whose results are to be read (ended) or whose files are to be deleted (harvested).';
revoke all on function rowmill.claim_ended_batches(text, integer) from public;
