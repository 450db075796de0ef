-- API: worker
create or replace function rowmill.let_go_of_batch(batch_id bigint, worker text, problem text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set
    owner = null,
    problem = let_go_of_batch.problem,
    -- Doubled for each try of a harvest, 10 minutes at most.
    lease_until = now() + least(least(interval '15 seconds', s.lease) * power(2, least(b.tries, 10)), interval '10 minutes'),
    tries = b.tries + (b.state in ('ended', 'harvested') and let_go_of_batch.problem is not null)::integer
  from rowmill.settings as s
  where b.id = let_go_of_batch.batch_id and b.owner = let_go_of_batch.worker;
  return found;
end;
$$;
comment on function rowmill.let_go_of_batch is
  'Leaves a batch in the state that it is in, with what went wrong, for the next worker in a quarter of a minute (or a lease, where '
  'that is shorter). One whose harvest broke off waits longer each time; a null problem counts as no try.';
revoke all on function rowmill.let_go_of_batch from public;
