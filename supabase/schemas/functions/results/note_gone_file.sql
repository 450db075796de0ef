-- API: worker
create or replace function rowmill.note_gone_file(batch_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
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
comment on function rowmill.note_gone_file is
  'The provider says that it knows no such result file. true where it has said so for an hour: the file is given up, and rows that '
  'it held count as missing.';
revoke all on function rowmill.note_gone_file from public;
