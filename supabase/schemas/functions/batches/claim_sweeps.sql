-- API: worker
create or replace function rowmill.claim_sweeps(worker text, max_batches integer)
returns table (
  batch_id bigint,
  key text,
  age_seconds double precision -- since the intent was written
)
language sql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
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
  returning b.id, b.key, extract(epoch from now() - b.created_at)::double precision;
$$;
comment on function rowmill.claim_sweeps is
  'Takes, under a lease, given-up intents for which the provider is to be searched: for files of their name, and for batches of their key.';
revoke all on function rowmill.claim_sweeps from public;
