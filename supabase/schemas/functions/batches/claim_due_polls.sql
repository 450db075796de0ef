-- API: worker
create or replace function rowmill.claim_due_polls(
  max_batches integer,
  together_from integer, -- with so many due, those that soon will be come along: one listing serves all
  again boolean default null -- false: batches that give no trouble; true: the others; null: all
)
returns table (batch_id bigint, pipeline_id bigint, provider_batch_id text, cancel_asked boolean)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_until timestamptz := now();
  v_jitter double precision := 0.2;
  v_troubled bigint[];
begin
  -- One bad batch is no reason to distrust its neighbours; several are.
  select coalesce(array_agg(t.pipeline_id), '{}') into strict v_troubled
  from (
    select b.pipeline_id
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.problem is not null
    group by b.pipeline_id
    having count(*) >= 3
  ) as t;
  if together_from <= (
    select count(*)
    from (
      select from rowmill.batch_processing_details as b
      where b.state = 'running' and b.poll_at <= now()
      and (claim_due_polls.again is null or claim_due_polls.again = (b.problem is not null or b.pipeline_id = any (v_troubled)))
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
    and (claim_due_polls.again is null or claim_due_polls.again = (b.problem is not null or b.pipeline_id = any (v_troubled)))
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
  returning b.id, b.pipeline_id, b.provider_batch_id, b.cancel_asked;
end;
$$;
comment on function rowmill.claim_due_polls is
  'Running batches that are due for a look; each is due again after settings.poll_every, older ones later. Those at '
  'which a look failed, and those of a pipeline of which several did, are taken apart from the others, so that they hold up none of them.';
revoke all on function rowmill.claim_due_polls from public;
