-- From the intent of a batch to its running at the provider, and the leases.
-- Every step is guarded by the state that it leaves and by the owner; a step that finds neither changes nothing
-- and says so. Workers need not stop.

-- API: worker
create function rowmill.begin_batch(
  worker text,
  key text, -- our name for the batch, unique
  chunk_ids bigint[],
  requests integer,
  bytes bigint
)
returns bigint
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_batch_id bigint;
  v_moved integer;
begin
  select p.* into v_pipeline
  from rowmill.pipelines as p
  where p.id = (select min(c.pipeline_id) from rowmill.chunks as c where c.id = any (begin_batch.chunk_ids))
  and p.state <> 'dropped';
  if not found then
    return null;
  end if;
  insert into rowmill.batch_processing_details (key, pipeline_id, pipeline_version, model, endpoint, requests, bytes, owner, lease_until)
  select begin_batch.key, v_pipeline.id, v_pipeline.version, v_pipeline.model, v_pipeline.endpoint,
    begin_batch.requests, begin_batch.bytes, begin_batch.worker, now() + s.lease
  from rowmill.settings as s
  returning id into strict v_batch_id;

  update rowmill.chunks as c
  set state = 'batched', batch_id = v_batch_id, owner = null, lease_until = null
  where c.id = any (begin_batch.chunk_ids)
  and c.state = 'accepted' and c.owner = begin_batch.worker and c.pipeline_id = v_pipeline.id;
  get diagnostics v_moved = row_count;
  if v_moved <> cardinality(begin_batch.chunk_ids) then
    raise exception using errcode = 'RM301', message = 'a chunk of this batch is no longer this worker''s',
      detail = format('%s of %s chunks are.', v_moved, cardinality(begin_batch.chunk_ids)),
      hint = 'Its lease ran out and another worker has it; nothing was sent.';
  end if;
  return v_batch_id;
end;
$$;
comment on function rowmill.begin_batch(text, text, bigint[], integer, bigint) is
  'Writes the intent of a batch over accepted chunks before anything reaches the provider; returns its id, null where the pipeline was dropped. Raises RM301, and changes nothing, where a chunk is not this worker''s.';
revoke all on function rowmill.begin_batch(text, text, bigint[], integer, bigint) from public;

-- API: worker
create function rowmill.note_input_file(batch_id bigint, worker text, input_file_id text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.batch_processing_details as b
  set input_file_id = note_input_file.input_file_id, uploaded_at = now(), lease_until = now() + s.lease
  from rowmill.settings as s
  where b.id = note_input_file.batch_id and b.state = 'preparing' and b.owner = note_input_file.worker;
  return found;
end;
$$;
comment on function rowmill.note_input_file(bigint, text, text) is 'Records the uploaded file; false where the intent is not this worker''s any more, which must then not create the batch.';
revoke all on function rowmill.note_input_file(bigint, text, text) from public;

-- API: worker
create function rowmill.start_batch(batch_id bigint, worker text, provider_batch_id text, provider_status text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.batch_processing_details as b
  set
    state = 'running',
    provider_batch_id = start_batch.provider_batch_id,
    provider_status = start_batch.provider_status,
    submitted_at = now(),
    poll_at = now(),
    owner = null,
    lease_until = null
  where b.id = start_batch.batch_id and b.state = 'preparing' and b.owner = start_batch.worker;
  return found;
end;
$$;
comment on function rowmill.start_batch(bigint, text, text, text) is 'preparing -> running: the provider has the batch under this id. false: another worker moved it first.';
revoke all on function rowmill.start_batch(bigint, text, text, text) from public;

-- API: worker
create function rowmill.claim_stale_intents(worker text, max_batches integer)
returns table (batch_id bigint, key text, input_file_id text, is_old boolean)
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    where b.state = 'preparing' and b.lease_until < now()
    order by b.id
    limit claim_stale_intents.max_batches
    for update skip locked
  )
  update rowmill.batch_processing_details as b
  set owner = claim_stale_intents.worker, lease_until = now() + s.lease
  from found, rowmill.settings as s
  where b.id = found.id
  -- The create cannot have been sent before the upload was noted, and that may have taken long.
  returning b.id, b.key, b.input_file_id, coalesce(b.uploaded_at, b.created_at) < now() - s.adopt_after;
$$;
comment on function rowmill.claim_stale_intents(text, integer) is
  'Takes intents whose worker fell silent. Each is looked up at the provider by its key: found, start_batch adopts it; not found and old enough, abandon_batch sends the work anew.';
revoke all on function rowmill.claim_stale_intents(text, integer) from public;

-- API: worker
create function rowmill.let_go_of_batch(batch_id bigint, worker text, problem text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.batch_processing_details as b
  set owner = null, lease_until = now() + interval '15 seconds', problem = let_go_of_batch.problem
  where b.id = let_go_of_batch.batch_id and b.owner = let_go_of_batch.worker;
  return found;
end;
$$;
comment on function rowmill.let_go_of_batch(bigint, text, text) is 'Leaves a batch in the state that it is in, for whoever comes by in a quarter of a minute, with what went wrong.';
revoke all on function rowmill.let_go_of_batch(bigint, text, text) from public;

-- API: worker
create function rowmill.abandon_batch(batch_id bigint, worker text, problem text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.batch_processing_details as b
  set state = 'abandoned', done_at = now(), owner = null, lease_until = null, problem = abandon_batch.problem
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
comment on function rowmill.abandon_batch(bigint, text, text) is 'preparing -> abandoned, its chunks waiting again: for an intent of which it is certain that the provider holds no batch.';
revoke all on function rowmill.abandon_batch(bigint, text, text) from public;

-- API: worker
create function rowmill.renew_leases(worker text, version text)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_chunks integer;
  v_batches integer;
begin
  insert into rowmill.workers (id, version)
  values (renew_leases.worker, renew_leases.version)
  on conflict (id) do update set seen_at = now();
  delete from rowmill.workers as w where w.seen_at < now() - interval '1 day';

  update rowmill.chunks as c
  set lease_until = now() + s.lease
  from rowmill.settings as s
  where c.state = 'accepted' and c.owner = renew_leases.worker and c.lease_until > now();
  get diagnostics v_chunks = row_count;

  update rowmill.batch_processing_details as b
  set lease_until = now() + s.lease
  from rowmill.settings as s
  where b.state in ('preparing', 'ended', 'harvested') and b.owner = renew_leases.worker and b.lease_until > now();
  get diagnostics v_batches = row_count;
  return v_chunks + v_batches;
end;
$$;
comment on function rowmill.renew_leases(text, text) is 'Says that a worker lives and renews what it holds; returns the number of leases. A lease that ran out is not renewed.';
revoke all on function rowmill.renew_leases(text, text) from public;
