-- API: worker
create or replace function rowmill.claim_stale_intents(worker text, max_batches integer)
returns table (
  batch_id bigint,
  key text,
  pipeline_id bigint,
  input_file_id text,
  is_old boolean,
  age_seconds double precision -- since it was written: no batch of it is older, but for clocks that differ
)
language sql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
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
  returning b.id, b.key, b.pipeline_id, b.input_file_id, coalesce(b.uploaded_at, b.created_at) < now() - s.adopt_after,
    extract(epoch from now() - b.created_at)::double precision;
$$;
comment on function rowmill.claim_stale_intents is
  'Takes intents whose worker fell silent. Each is looked up at the provider by its key: found, start_batch adopts it; '
  'not found and old enough, abandon_batch sends the work anew.';
revoke all on function rowmill.claim_stale_intents from public;
