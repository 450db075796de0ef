-- The end of a harvest is on disk before the files that it was read from are deleted. Workers need not stop.

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
  delay_seconds integer default null
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_rest integer;
begin
  perform from rowmill.batch_processing_details as b
  where b.id = finish_harvest.batch_id and b.state = 'ended' and b.owner = finish_harvest.worker
  for update;
  if not found then
    return null;
  end if;
  -- The files are deleted next: results that a crash took back could not be read again.
  perform rowmill.commit_durably();
  v_rest := rowmill.settle_rest(finish_harvest.batch_id, finish_harvest.error_class, finish_harvest.code, finish_harvest.message,
    finish_harvest.retried, finish_harvest.counted, finish_harvest.delay_seconds);
  update rowmill.batch_processing_details as b
  set state = 'harvested', rows_failed = b.rows_failed + v_rest
  where b.id = finish_harvest.batch_id;
  return v_rest;
end;
$$;
