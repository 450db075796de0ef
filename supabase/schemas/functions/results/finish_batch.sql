-- API: worker
create or replace function rowmill.finish_batch(batch_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set state = 'done', done_at = now(), owner = null, lease_until = null, problem = null
  where b.id = finish_batch.batch_id and b.state = 'harvested' and b.owner = finish_batch.worker;
  return found;
end;
$$;
comment on function rowmill.finish_batch is
  'harvested -> done: its files at the provider are deleted, or kept on purpose.';
revoke all on function rowmill.finish_batch from public;
