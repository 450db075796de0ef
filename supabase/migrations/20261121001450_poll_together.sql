-- Many batches are looked at together: the provider lists a hundred in one answer, and their states are recorded in
-- one call. The longer a batch runs, the less often it is looked at.
-- Workers must stop: an older one calls record_poll.

comment on column rowmill.settings.poll_every is
  'How often a running batch is looked at; after an hour and more, every sixtieth of its age, but at least every tenth time.';

drop function rowmill.claim_due_polls(integer);

-- API: worker
create function rowmill.claim_due_polls(
  max_batches integer,
  together_from integer -- with so many due, those that soon will be come along: one listing serves all
)
returns table (batch_id bigint, provider_batch_id text, cancel_asked boolean)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_until timestamptz := now();
  v_jitter double precision := 0.2;
begin
  if together_from <= (
    select count(*)
    from (
      select from rowmill.batch_processing_details as b
      where b.state = 'running' and b.poll_at <= now()
      limit claim_due_polls.together_from
    ) as due
  ) then
    -- Half of it, so that those that were looked at a moment ago stay where they are.
    select now() + s.poll_every / 2 into strict v_until from rowmill.settings as s;
    v_jitter := 0; -- they stay together
  end if;
  return query
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.poll_at <= v_until
    order by b.poll_at
    limit claim_due_polls.max_batches
    for update skip locked
  )
  update rowmill.batch_processing_details as b
  set poll_at = now() + greatest(s.poll_every, least((now() - b.submitted_at) / 60, s.poll_every * 10))
    -- a tenth either way, so that a few batches of one import are not all asked for at once
    * (1 - v_jitter / 2 + random() * v_jitter)
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.provider_batch_id, b.cancel_asked;
end;
$$;
comment on function rowmill.claim_due_polls(integer, integer) is 'Running batches that are due for a look; each is due again after settings.poll_every, older ones later.';
revoke all on function rowmill.claim_due_polls(integer, integer) from public;

drop function rowmill.record_poll(bigint, text, boolean, text, text, integer, integer, jsonb);

-- API: worker
create function rowmill.record_polls(
  polls jsonb -- [{"batch_id", "provider_status", "is_terminal", "output_file_id", "error_file_id", "requests_completed", "requests_failed", "provider_errors"}]
)
returns table (batch_id bigint, state text)
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  update rowmill.batch_processing_details as b
  set
    provider_status = r.provider_status,
    output_file_id = r.output_file_id,
    error_file_id = r.error_file_id,
    requests_completed = r.requests_completed,
    requests_failed = r.requests_failed,
    provider_errors = nullif(r.provider_errors, 'null'),
    polled_at = now(),
    gone_since = null,
    problem = null,
    state = case
      when not r.is_terminal then b.state
      when p.state = 'dropped' then 'harvested' -- nobody waits for the answers; only files are left to delete
      else 'ended'
    end,
    ended_at = case when r.is_terminal then now() end
  from jsonb_to_recordset(record_polls.polls) as r(
    batch_id bigint, provider_status text, is_terminal boolean, output_file_id text, error_file_id text,
    requests_completed integer, requests_failed integer, provider_errors jsonb
  ), rowmill.pipelines as p
  where b.id = r.batch_id and b.state = 'running' and p.id = b.pipeline_id
  returning b.id, b.state;
$$;
comment on function rowmill.record_polls(jsonb) is
  'What the provider said of running batches; in a terminal status they move on to ended. Returns the new state of each, and none for one that another worker moved first.';
revoke all on function rowmill.record_polls(jsonb) from public;
