-- API: worker
create or replace function rowmill.start_batch(
  batch_id bigint,
  provider_batch_id text,
  provider_status text,
  input_file_id text
)
returns text
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch rowmill.batch_processing_details;
begin
  -- More has no room in an entry of the unique index. The worker reads no batch of such an id.
  if length(start_batch.provider_batch_id) not between 1 and 256 then
    raise exception using errcode = '22023', message = 'the id of a batch has 1 to 256 characters';
  end if;
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = start_batch.batch_id
  for update;
  if v_batch.provider_batch_id is not distinct from start_batch.provider_batch_id then
    return 'known';
  end if;
  -- Before 'foreign', upon which the worker cancels the batch.
  if exists (
    select from rowmill.batch_processing_details as b where b.provider_batch_id = start_batch.provider_batch_id
  ) then
    return 'taken';
  end if;
  if v_batch.state not in ('preparing', 'rejected', 'abandoned') then
    return 'foreign';
  end if;
  begin
    update rowmill.batch_processing_details as b
    set
      state = 'running',
      provider_batch_id = start_batch.provider_batch_id,
      provider_status = start_batch.provider_status,
      input_file_id = coalesce(b.input_file_id, start_batch.input_file_id),
      submitted_at = now(),
      poll_at = now(),
      done_at = null,
      sweep_at = null,
      owner = null,
      lease_until = null,
      cancel_asked = b.cancel_asked or v_batch.state <> 'preparing',
      -- No row waits for a stray; what it costs is booked when it has ended.
      requests = case v_batch.state when 'preparing' then b.requests else 0 end,
      rows = case v_batch.state when 'preparing' then b.rows else 0 end,
      settled_at = null,
      spent_usd = null,
      problem = case when v_batch.state <> 'preparing' then 'It was created after its intent had been given up; it is being cancelled.' end
    where b.id = v_batch.id;
  exception
    when unique_violation then -- another intent was quicker
      return 'taken';
  end;
  update rowmill.pipelines as p
  set strikes = 0, wait_until = null, wait_reason = null
  where p.id = v_batch.pipeline_id and p.wait_reason is not null;
  return case v_batch.state when 'preparing' then 'started' else 'stray' end;
end;
$$;
comment on function rowmill.start_batch is
  'The provider has a batch of this intent under this id: a fact, whoever brings it. "started": preparing -> running. '
  '"known": it was recorded before. "stray": the intent had been given up and its rows are elsewhere; '
  'the batch is recorded as running and to be cancelled. "foreign": the intent has another batch; nothing is recorded. '
  '"taken": another intent has this batch, which is not to be cancelled; nothing is recorded. '
  'Raises 22023 where the id has no character, or more than 256.';
revoke all on function rowmill.start_batch from public;
