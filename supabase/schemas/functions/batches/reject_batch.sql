-- API: worker
create or replace function rowmill.reject_batch(
  batch_id bigint, worker text, error_class text, code text, message text, retried boolean, counted boolean, noted boolean,
  delay_seconds integer default null,
  may_have_left boolean default false -- whether its file may yet be at the provider
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows integer;
begin
  perform from rowmill.batch_processing_details as b
  where b.id = reject_batch.batch_id and b.state = 'preparing' and b.owner = reject_batch.worker
  for update;
  if not found then
    return null;
  end if;
  v_rows := rowmill.settle_rest(reject_batch.batch_id, reject_batch.error_class, reject_batch.code, reject_batch.message,
    reject_batch.retried, reject_batch.counted, reject_batch.noted, reject_batch.delay_seconds);
  -- Before the money: begin_batch, too, has the pipeline first and its spending second.
  perform rowmill.judge_batch(reject_batch.batch_id);
  perform rowmill.settle_money(reject_batch.batch_id);
  update rowmill.batch_processing_details as b
  set
    rows_failed = v_rows,
    state = 'rejected', done_at = now(), owner = null, lease_until = null, problem = reject_batch.message,
    sweep_at = case when reject_batch.may_have_left then now() end
  where b.id = reject_batch.batch_id;
  return v_rows;
end;
$$;
comment on function rowmill.reject_batch is
  'preparing -> rejected: the provider refused the batch for good; each of its rows fails so. null: not under this lease.';
revoke all on function rowmill.reject_batch from public;
