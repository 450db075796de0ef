-- API: worker
create or replace function rowmill.refuse_unread_rows(
  chunk_id bigint,
  worker text,
  failures jsonb -- [{"n": place, "class", "code", "message", "retried", "counted"}]
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk rowmill.chunks;
  v_failed jsonb;
begin
  select c.* into v_chunk
  from rowmill.chunks as c
  where c.id = refuse_unread_rows.chunk_id and c.state = 'accepted' and c.owner = refuse_unread_rows.worker
  for update;
  if not found then
    return 0;
  end if;
  select coalesce(jsonb_agg(f.value || jsonb_build_object(
    'key', v_chunk.keys -> (f.value -> 'n')::integer,
    'hash', coalesce(rowmill.hash_of_row(v_chunk.pipeline_id, v_chunk.keys -> (f.value -> 'n')::integer), ''),
    'noted', true
  )), '[]')
  into strict v_failed
  from jsonb_array_elements(refuse_unread_rows.failures) as f(value)
  where (f.value -> 'n')::integer between 0 and v_chunk.row_count - 1;
  perform rowmill.note_failures(v_chunk.pipeline_id, null, v_failed);
  return jsonb_array_length(v_failed);
end;
$$;
comment on function rowmill.refuse_unread_rows is
  'Rows of an accepted chunk that read_chunk raises for, each with the reason; they are not in flight. Returns how many. Harmless to '
  'repeat: a row has one failure.';
revoke all on function rowmill.refuse_unread_rows from public;
