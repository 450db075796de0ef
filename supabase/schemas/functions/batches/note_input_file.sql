-- API: worker
create or replace function rowmill.note_input_file(batch_id bigint, worker text, input_file_id text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set input_file_id = note_input_file.input_file_id, uploaded_at = now(), lease_until = now() + s.lease
  from rowmill.settings as s
  where b.id = note_input_file.batch_id and b.state = 'preparing' and b.owner = note_input_file.worker;
  return found;
end;
$$;
comment on function rowmill.note_input_file is
  'Records the uploaded file; false where the intent is not this worker''s any more, which must then not create the batch.';
revoke all on function rowmill.note_input_file from public;
