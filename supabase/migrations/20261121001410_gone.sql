-- What the provider has lost is given up at last: a batch that it no longer knows, a result file that is gone. Until
-- now both were looked for every few seconds for ever, and their rows waited as long.
-- Workers must stop: an older one does not know what to do with note_poll_problem.

alter table rowmill.batch_processing_details add column gone_since timestamptz;
comment on column rowmill.batch_processing_details.gone_since is 'Since when the provider says that it knows no such batch or file; null where it does know it.';

drop function rowmill.note_poll_problem(bigint, text);

-- API: worker
create function rowmill.note_poll_problem(
  batch_id bigint,
  problem text,
  is_gone boolean -- the provider says that it knows no such batch
)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.batch_processing_details as b
  set problem = note_poll_problem.problem, gone_since = case when note_poll_problem.is_gone then coalesce(b.gone_since, now()) end
  where b.id = note_poll_problem.batch_id and b.state = 'running';

  update rowmill.batch_processing_details as b
  set state = 'ended', provider_status = 'gone', ended_at = now()
  where b.id = note_poll_problem.batch_id and b.state = 'running'
  -- A batch runs for a day; before that is over, it could still be at work, and be asked for twice.
  and b.submitted_at < now() - interval '26 hours'
  and b.gone_since <= now() - interval '1 hour';
  return found;
end;
$$;
comment on function rowmill.note_poll_problem(bigint, text, boolean) is
  'Why a look at a running batch failed; it stays running and is looked at again. One that the provider has not known for an hour, and whose day is over, ends without results: returns true then.';
revoke all on function rowmill.note_poll_problem(bigint, text, boolean) from public;

-- API: worker
create function rowmill.note_gone_file(batch_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_since timestamptz;
begin
  update rowmill.batch_processing_details as b
  set gone_since = coalesce(b.gone_since, now())
  where b.id = note_gone_file.batch_id and b.state = 'ended' and b.owner = note_gone_file.worker
  returning b.gone_since into v_since;
  return coalesce(v_since <= now() - interval '1 hour', false);
end;
$$;
comment on function rowmill.note_gone_file(bigint, text) is
  'The provider says that it knows no such result file. true where it has said so for an hour: the file is given up, and rows that it held count as missing.';
revoke all on function rowmill.note_gone_file(bigint, text) from public;
