-- API: worker
create or replace function rowmill.let_go_of_batch(batch_id bigint, worker text, problem text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set owner = null, lease_until = now() + least(interval '15 seconds', s.lease), problem = let_go_of_batch.problem
  from rowmill.settings as s
  where b.id = let_go_of_batch.batch_id and b.owner = let_go_of_batch.worker;
  return found;
end;
$$;
comment on function rowmill.let_go_of_batch is
  'Leaves a batch in the state that it is in, for whoever comes by in a quarter of a minute (or a lease, where that is shorter), '
  'with what went wrong.';
revoke all on function rowmill.let_go_of_batch from public;
