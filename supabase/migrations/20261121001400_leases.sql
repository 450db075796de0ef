-- Leases by name. A worker used to renew whatever stood under its own name, a claim whose answer it never received
-- among it, which then stayed with it for ever. Now every claim is made under a lease of its own, and a worker
-- renews the leases that it knows.
-- Workers must stop: an older one cannot renew any more.

alter table rowmill.settings add column retry_after interval not null default '15 seconds';
comment on column rowmill.settings.retry_after is
  'How long a row waits after its first failure that counts; twice as long after each further one, an hour at most.';
comment on column rowmill.settings.lease is
  'How long a worker that falls silent keeps its chunks and batches. Workers renew four times as often, every 5 seconds at least.';
update rowmill.settings set adopt_after = lease * 2.5 where adopt_after <= lease;
-- A worker sends a create within one lease of the upload. An intent that is given up sooner could be created twice.
alter table rowmill.settings add constraint settings_adopt_after_outlasts_lease check (adopt_after > lease);

comment on column rowmill.chunks.owner is 'The lease that holds it, <worker>/<number>: a worker names each claim anew, so that its own late finisher is a stranger too.';
comment on column rowmill.batch_processing_details.owner is 'The lease that holds it, <worker>/<number>.';

create index batches_leased on rowmill.batch_processing_details (owner) where owner is not null;

drop function rowmill.renew_leases(text, text);

-- API: worker
create function rowmill.renew_leases(
  worker text,
  version text,
  leases text[] -- those that this worker has in hand
)
returns table (lease_ms integer, renewed integer)
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
comment on function rowmill.renew_leases(text, text, text[]) is
  'Says that a worker lives and renews the leases that it names; returns how long a lease is, and how many chunks and batches stand under them. A lease that ran out is not renewed.';
revoke all on function rowmill.renew_leases(text, text, text[]) from public;

-- API: worker
create or replace function rowmill.let_go_of_batch(batch_id bigint, worker text, problem text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.batch_processing_details as b
  set owner = null, lease_until = now() + least(interval '15 seconds', s.lease), problem = let_go_of_batch.problem
  from rowmill.settings as s
  where b.id = let_go_of_batch.batch_id and b.owner = let_go_of_batch.worker;
  return found;
end;
$$;
comment on function rowmill.let_go_of_batch(bigint, text, text) is
  'Leaves a batch in the state that it is in, for whoever comes by in a quarter of a minute (or a lease, where that is shorter), with what went wrong.';
