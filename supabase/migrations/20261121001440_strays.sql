-- Batches that were created although their intent had been given up, and files that no batch reads.
--
-- No one can keep a process from sleeping between its last look at its lease and its request. What it creates then is
-- found again by its key, cancelled, and accounted for like any other batch.
-- Workers must stop: start_batch answers in words now.

alter table rowmill.batch_processing_details add column sweep_at timestamptz;
comment on column rowmill.batch_processing_details.sweep_at is 'When to look at the provider for what a given-up intent may have left there; null: nothing, or no longer.';
create index batches_to_sweep on rowmill.batch_processing_details (sweep_at) where sweep_at is not null;

drop function rowmill.start_batch(bigint, text, text, text);

-- API: worker
create function rowmill.start_batch(
  batch_id bigint,
  provider_batch_id text,
  provider_status text,
  input_file_id text
)
returns text
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_batch rowmill.batch_processing_details;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = start_batch.batch_id
  for update;
  if v_batch.provider_batch_id is not distinct from start_batch.provider_batch_id then
    return 'known';
  end if;
  if v_batch.state not in ('preparing', 'rejected', 'abandoned') then
    return 'foreign';
  end if;
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
    -- No row waits for a stray.
    requests = case v_batch.state when 'preparing' then b.requests else 0 end,
    problem = case when v_batch.state <> 'preparing' then 'It was created after its intent had been given up; it is being cancelled.' end
  where b.id = v_batch.id;
  return case v_batch.state when 'preparing' then 'started' else 'stray' end;
end;
$$;
comment on function rowmill.start_batch(bigint, text, text, text) is
  'The provider has a batch of this intent under this id: a fact, whoever brings it. "started": preparing -> running. "known": it was recorded before. "stray": the intent had been given up and its rows are elsewhere; the batch is recorded as running and to be cancelled. "foreign": the intent has another batch; nothing is recorded.';
revoke all on function rowmill.start_batch(bigint, text, text, text) from public;

drop function rowmill.abandon_batch(bigint, text, text);

-- API: worker
create function rowmill.abandon_batch(
  batch_id bigint,
  worker text,
  problem text,
  may_have_left boolean -- whether a file, or even a batch, may yet turn up at the provider
)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.batch_processing_details as b
  set
    state = 'abandoned', done_at = now(), owner = null, lease_until = null, problem = abandon_batch.problem,
    sweep_at = case when abandon_batch.may_have_left then now() end
  where b.id = abandon_batch.batch_id and b.state = 'preparing' and b.owner = abandon_batch.worker;
  if not found then
    return false;
  end if;
  delete from rowmill.chunk_rows as r
  using rowmill.chunks as c
  where c.batch_id = abandon_batch.batch_id and c.state = 'batched' and r.chunk_id = c.id;
  update rowmill.chunks as c
  -- looked at again after settings.fetch_after: whatever the provider had against it may be over then
  set state = 'waiting', batch_id = null, posted_at = now()
  where c.batch_id = abandon_batch.batch_id and c.state = 'batched';
  return true;
end;
$$;
comment on function rowmill.abandon_batch(bigint, text, text, boolean) is
  'preparing -> abandoned, its chunks waiting again: for an intent of which it is certain that the provider holds no batch.';
revoke all on function rowmill.abandon_batch(bigint, text, text, boolean) from public;

drop function rowmill.reject_batch(bigint, text, text, text, text, boolean, boolean, integer);

-- API: worker
create function rowmill.reject_batch(
  batch_id bigint, worker text, error_class text, code text, message text, retried boolean, counted boolean,
  delay_seconds integer default null,
  may_have_left boolean default false -- whether its file may yet be at the provider
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_rows integer;
begin
  update rowmill.batch_processing_details as b
  set
    state = 'rejected', done_at = now(), owner = null, lease_until = null, problem = reject_batch.message,
    sweep_at = case when reject_batch.may_have_left then now() end
  where b.id = reject_batch.batch_id and b.state = 'preparing' and b.owner = reject_batch.worker;
  if not found then
    return null;
  end if;
  v_rows := rowmill.settle_rest(reject_batch.batch_id, reject_batch.error_class, reject_batch.code, reject_batch.message,
    reject_batch.retried, reject_batch.counted, reject_batch.delay_seconds);
  update rowmill.batch_processing_details as b set rows_failed = v_rows where b.id = reject_batch.batch_id;
  return v_rows;
end;
$$;
comment on function rowmill.reject_batch(bigint, text, text, text, text, boolean, boolean, integer, boolean) is
  'preparing -> rejected: the provider refused the batch for good; each of its rows fails so. null: not under this lease.';
revoke all on function rowmill.reject_batch(bigint, text, text, text, text, boolean, boolean, integer, boolean) from public;

-- API: worker
create function rowmill.claim_sweeps(worker text, max_batches integer)
returns table (batch_id bigint, key text)
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    where b.sweep_at <= now() and (b.lease_until is null or b.lease_until < now())
    order by b.sweep_at
    limit claim_sweeps.max_batches
    for update skip locked
  )
  update rowmill.batch_processing_details as b
  set owner = claim_sweeps.worker, lease_until = now() + s.lease
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.key;
$$;
comment on function rowmill.claim_sweeps(text, integer) is 'Takes, under a lease, given-up intents for which the provider is to be searched: for files of their name, and for batches of their key.';
revoke all on function rowmill.claim_sweeps(text, integer) from public;

-- API: worker
create function rowmill.finish_sweep(
  batch_id bigint,
  worker text,
  began_seconds_ago double precision -- how long ago the search began
)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.batch_processing_details as b
  set
    owner = null,
    lease_until = null,
    -- A request on its way when the intent was given up may take effect later, and a list may lag behind.
    sweep_at = case
      when now() - finish_sweep.began_seconds_ago * interval '1 second' < b.done_at + s.adopt_after then b.done_at + s.adopt_after
    end
  from rowmill.settings as s
  where b.id = finish_sweep.batch_id and b.owner = finish_sweep.worker;
  return found;
end;
$$;
comment on function rowmill.finish_sweep(bigint, text, double precision) is
  'The provider was searched and holds nothing of this intent any more. Searched once more when settings.adopt_after has passed since it was given up, if that is still to come.';
revoke all on function rowmill.finish_sweep(bigint, text, double precision) from public;
