-- API: worker
create or replace function rowmill.abandon_batch(
  batch_id bigint,
  worker text,
  problem text,
  may_have_left boolean, -- whether a file, or even a batch, may yet turn up at the provider
  cause text default null -- why the provider took none: 'tokens', 'quota', 'provider'; null: it did not say no
)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch rowmill.batch_processing_details;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = abandon_batch.batch_id and b.state = 'preparing' and b.owner = abandon_batch.worker
  for update;
  if not found then
    return false;
  end if;
  -- Before the money: begin_batch, too, has the pipeline first and its spending second.
  case abandon_batch.cause
    when 'quota' then
      perform rowmill.stop_pipeline(v_batch.pipeline_id,
        format('quota_exhausted: the provider says: %s More tries would only fail.', abandon_batch.problem));
    when 'provider' then
      perform rowmill.note_refusal(v_batch.pipeline_id, abandon_batch.problem);
    else
      null;
  end case;
  perform rowmill.settle_money(v_batch.id);
  update rowmill.batch_processing_details as b
  set
    state = 'abandoned', done_at = now(), owner = null, lease_until = null, problem = abandon_batch.problem,
    sweep_at = case when abandon_batch.may_have_left then now() end
  where b.id = v_batch.id;
  delete from rowmill.chunk_rows as r
  using rowmill.chunks as c
  where c.batch_id = v_batch.id and c.state = 'batched' and r.chunk_id = c.id;
  update rowmill.chunks as c
  set
    state = 'waiting', batch_id = null,
    -- looked at again after settings.fetch_after: whatever the provider had against it may be over then
    posted_at = now(),
    waits_for = case when abandon_batch.cause is not null then abandon_batch.cause end,
    wait_reason = case when abandon_batch.cause is not null then abandon_batch.problem end
  where c.batch_id = v_batch.id and c.state = 'batched';
  if abandon_batch.cause = 'tokens' then
    perform rowmill.note_full_queue(v_batch.model, v_batch.reserved_tokens);
  end if;
  return true;
end;
$$;
comment on function rowmill.abandon_batch is
  'preparing -> abandoned, its chunks waiting again and its reservation ended: '
  'for an intent of which it is certain that the provider holds no batch.';
revoke all on function rowmill.abandon_batch from public;
