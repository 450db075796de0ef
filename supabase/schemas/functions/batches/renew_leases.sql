-- API: worker
create or replace function rowmill.renew_leases(
  worker text,
  version text,
  leases text[] -- those that this worker has in hand
)
returns table (lease_ms integer, renewed integer)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
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
  where c.state = 'accepted' and c.owner = any (renew_leases.leases) and c.lease_until > now();
  get diagnostics v_chunks = row_count;

  update rowmill.batch_processing_details as b
  set lease_until = now() + s.lease
  from rowmill.settings as s
  where b.lease_until > now() and b.owner = any (renew_leases.leases);
  get diagnostics v_batches = row_count;

  return query
  select floor(extract(epoch from s.lease) * 1000)::integer, v_chunks + v_batches from rowmill.settings as s;
end;
$$;
comment on function rowmill.renew_leases is
  'Says that a worker lives and renews the leases that it names; '
  'returns how long a lease is, and how many chunks and batches stand under them. A lease that ran out is not renewed.';
revoke all on function rowmill.renew_leases from public;
