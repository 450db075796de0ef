-- API: worker
create or replace function rowmill.finish_harvest(
  batch_id bigint,
  worker text,
  -- what a row is that neither file mentions
  error_class text,
  code text,
  message text,
  retried boolean,
  counted boolean,
  noted boolean,
  delay_seconds integer default null,
  found_no_room boolean default false -- the provider's queue for the model was full
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_rest integer;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = finish_harvest.batch_id and b.state = 'ended' and b.owner = finish_harvest.worker
  for update;
  if not found then
    return null;
  end if;
  -- The files are deleted next: results that a crash took back could not be read again.
  perform rowmill.commit_durably();
  v_rest := rowmill.settle_rest(finish_harvest.batch_id, finish_harvest.error_class, finish_harvest.code, finish_harvest.message,
    finish_harvest.retried, finish_harvest.counted, finish_harvest.noted, finish_harvest.delay_seconds);
  -- begin_batch, too, has the pipeline first and its spending second; abandon_batch has the model last.
  if not finish_harvest.found_no_room then
    perform rowmill.judge_batch(finish_harvest.batch_id);
  end if;
  perform rowmill.settle_money(finish_harvest.batch_id);
  update rowmill.batch_processing_details as b
  set state = 'harvested', tries = 0, rows_failed = b.rows_failed + v_rest
  where b.id = finish_harvest.batch_id;
  if finish_harvest.found_no_room then
    perform rowmill.note_full_queue(v_batch.model, v_batch.reserved_tokens);
  elsif v_batch.provider_status = 'completed' then
    perform rowmill.note_room_in_queue(v_batch.model, v_batch.reserved_tokens);
  end if;
  return v_rest;
end;
$$;
comment on function rowmill.finish_harvest is
  'ended -> harvested: both files are applied to their ends, the money is settled, the batch is judged; returns how many rows the '
  'files did not mention. null: not under this lease.';
revoke all on function rowmill.finish_harvest from public;
