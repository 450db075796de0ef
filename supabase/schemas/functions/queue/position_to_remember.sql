-- API: internal
create or replace function rowmill.position_to_remember(pipeline_id bigint, chunk_ids bigint[])
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from rowmill.chunks as c where c.id = any (position_to_remember.chunk_ids) and c.may_repeat) then
    if rowmill.has_unread(position_to_remember.pipeline_id) then
      return pg_sequence_last_value('rowmill.pending_keys_id_seq');
    end if;
  elsif rowmill.has_unread_that_may_repeat(position_to_remember.pipeline_id) then
    -- Two of which neither may repeat the other are two rows.
    return pg_sequence_last_value('rowmill.pending_keys_id_seq');
  end if;
  return null;
end;
$$;
comment on function rowmill.position_to_remember is
  'Where the queue stands, if the answers of these chunks are to be remembered because something unread may ask for them again; '
  'else null.';
revoke all on function rowmill.position_to_remember from public;
